"""What all doors of a process share, so that a caller is one caller whichever it asks."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from vlp_server.access.key_ring import KeyRing
from vlp_server.access.limit_figures import LimitFigures
from vlp_server.access.limits import AccessLimits
from vlp_server.config.server import ServerConfig
from vlp_server.intake.access_log import AccessLog
from vlp_server.intake.room import Room


@dataclass(frozen=True, slots=True)
class Shared:
    """What the doors share.

    Attributes:
        room: how many requests and bytes are inside.
        limits: of the callers.
        ring: the keys in force; None: nobody is asked for one.
        access_log: gets a line for every request; None: there is none.
    """

    room: Room
    limits: AccessLimits
    ring: KeyRing | None
    access_log: AccessLog | None

    @classmethod
    def of(cls, config: ServerConfig, registry: CollectorRegistry | None) -> Shared:
        """For a door that is alone.

        Args:
            config: the whole configuration.
            registry: gets the figures of the limits.

        Raises:
            ConfigError: every fault of the keys.
        """
        return cls(
            room=Room(config.http.max_in_flight, config.http.max_in_flight_bytes),
            limits=AccessLimits(config.access.quota, figures=LimitFigures(registry)),
            ring=KeyRing(config.access.keys, config.access.keys_file) if config.access.asks_for_keys else None,
            access_log=AccessLog(config.log) if config.log.access else None,
        )
