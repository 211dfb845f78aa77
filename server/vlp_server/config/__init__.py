from vlp_server.config.access import AccessConfig
from vlp_server.config.loader import ResolvedConfig, load_config, resolve_config
from vlp_server.config.server import ModelTarget, ServerConfig, core_settings
from vlp_server.config.settings import HttpConfig, LimitsConfig, LogConfig, ModelsConfig, UrlFetchConfig

__all__ = [
    "AccessConfig",
    "HttpConfig",
    "LimitsConfig",
    "LogConfig",
    "ModelTarget",
    "ModelsConfig",
    "ResolvedConfig",
    "ServerConfig",
    "UrlFetchConfig",
    "core_settings",
    "load_config",
    "resolve_config",
]
