"""One model family a file: parts put together under the names of the published checkpoints."""
