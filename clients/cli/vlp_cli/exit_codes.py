"""What the command's exit codes mean; scripts rely on them."""

from __future__ import annotations

from collections.abc import Mapping

REFUSED = 1
USAGE = 2
UNREACHABLE = 3
OVERLOADED = 4
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: Mapping[int, str] = {
    0: "done",
    REFUSED: "the server said no, or some of the work failed, or a bound was missed",
    USAGE: "the command line, the configuration, a file or an artefact is at fault",
    UNREACHABLE: "no server there, no answer in time, or what answers is no vlpserve server",
    OVERLOADED: "the server is overloaded or not available now; the same command may work later",
    INTERRUPTED: "interrupted (Ctrl-C)",
    BROKEN_PIPE: "who read the output has left",
}
