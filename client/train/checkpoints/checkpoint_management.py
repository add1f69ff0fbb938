"""The list of checkpoints: the text file ``checkpoint``, and finding and removing checkpoints.

The functions here look at the file system of the client.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import text_format

from flowray.client.platform import logging
from flowray.client.tf_export import tf_export
from flowray.proto.files import durable_files
from flowray.proto.files.checkpoint import commit
from flowray.proto.files.file_errors import translated
from flowray.proto.messages.checkpoint_pb2 import CheckpointState, SaverDef


@tf_export("train.generate_checkpoint_state_proto")
def generate_checkpoint_state_proto(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> CheckpointState:
    """Returns the state of the checkpoints in ``save_dir``.

    Args:
        save_dir: where they are. If it is a relative path, so become the paths within it.
        model_checkpoint_path: the latest checkpoint.
        all_model_checkpoint_paths: all of them from the oldest to the latest, which is added where
            it is not the last one.
        all_model_checkpoint_timestamps: when each of them was written, in seconds since 1970.
        last_preserved_timestamp: when the last one was written that is kept for good.

    Raises:
        ValueError: there are not as many timestamps as paths.
    """
    paths = list(all_model_checkpoint_paths or ())
    if not paths or paths[-1] != model_checkpoint_path:
        logging.info(
            "%s is not in all_model_checkpoint_paths. Manually adding it.", model_checkpoint_path
        )
        paths.append(model_checkpoint_path)
    timestamps = all_model_checkpoint_timestamps
    if timestamps and len(timestamps) != len(paths):
        raise ValueError(
            "Checkpoint timestamps, if provided, must match checkpoint paths (got paths "
            f"{paths} and timestamps {timestamps})"
        )

    def within(path: str) -> str:
        if os.path.isabs(save_dir) or os.path.isabs(path):
            return path
        return os.path.relpath(path, save_dir)

    return CheckpointState(
        model_checkpoint_path=within(model_checkpoint_path),
        all_model_checkpoint_paths=map(within, paths),
        all_model_checkpoint_timestamps=timestamps,
        last_preserved_timestamp=last_preserved_timestamp,
    )


@tf_export("train.update_checkpoint_state")
def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> None:
    """Writes the state of the checkpoints in ``save_dir`` into the file ``latest_filename``.

    See ``generate_checkpoint_state_proto`` for the arguments. A reader sees the old content of the
    file or the new one, never anything between.

    Raises:
        RuntimeError: the checkpoint has the name of that file.
    """
    write_checkpoint_state(
        save_dir,
        model_checkpoint_path,
        all_model_checkpoint_paths,
        latest_filename,
        timestamps=all_model_checkpoint_timestamps,
        preserved=last_preserved_timestamp,
    )


def write_checkpoint_state(
    save_dir: str,
    latest: str,
    all_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    *,
    relative: bool = False,
    timestamps: Sequence[float] | None = None,
    preserved: float | None = None,
) -> None:
    """Writes the file ``checkpoint``; ``relative`` makes paths relative to ``save_dir``."""
    path = _state_path(save_dir, latest_filename)
    if relative:
        latest, *all_paths = (
            os.path.relpath(p, save_dir) if os.path.isabs(p) else p
            for p in (latest, *(all_paths or ()))
        )
    state = generate_checkpoint_state_proto(save_dir, latest, all_paths, timestamps, preserved)
    if path == state.model_checkpoint_path:
        raise RuntimeError(
            f"Save path '{latest}' conflicts with path used for checkpoint state.  Please use a "
            "different save path."
        )
    with translated(path):
        durable_files.replace(path, text_format.MessageToString(state).encode())


@tf_export("train.get_checkpoint_state")
def get_checkpoint_state(
    checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None
) -> CheckpointState | None:
    """Returns the state of the checkpoints in a directory, with usable paths.

    None, after a warning, where the file cannot be read.

    Raises:
        ValueError: the file does not name a latest checkpoint.
    """
    directory = os.fspath(checkpoint_dir)
    path = _state_path(directory, latest_filename)
    if not os.path.exists(path):
        return None
    state = CheckpointState()
    try:
        with open(path, encoding="utf-8") as file:
            text_format.Parse(file.read(), state)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        logging.warning("%s: %s", type(error).__name__, error)
        logging.warning("%s: Checkpoint ignored", path)
        return None
    if not state.model_checkpoint_path:
        raise ValueError(f"Invalid checkpoint state loaded from {directory}")
    # To join a directory and an absolute path gives that path.
    state.model_checkpoint_path = os.path.join(directory, state.model_checkpoint_path)
    state.all_model_checkpoint_paths[:] = [
        os.path.join(directory, p) for p in state.all_model_checkpoint_paths
    ]
    return state


@tf_export("train.latest_checkpoint")
def latest_checkpoint(
    checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None
) -> str | None:
    """Returns the prefix of the latest checkpoint in a directory; None if there is none."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    if checkpoint_exists(state.model_checkpoint_path):
        return state.model_checkpoint_path
    logging.error("Couldn't match files for checkpoint %s", state.model_checkpoint_path)
    return None


@tf_export("train.checkpoint_exists")
def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Tells whether there is a checkpoint with this prefix, in the format V2 or V1."""
    return _file_of(checkpoint_prefix) is not None


@tf_export("train.get_checkpoint_mtimes")
def get_checkpoint_mtimes(checkpoint_prefixes: Iterable[str]) -> list[float]:
    """Returns when the checkpoints that exist were written, in seconds since 1970.

    Raises:
        NotFoundError: one vanishes at this moment.
    """
    files = [path for path in map(_file_of, checkpoint_prefixes) if path is not None]
    with translated():
        return [os.stat(path).st_mtime_ns / 1e9 for path in files]


@tf_export("train.remove_checkpoint")
def remove_checkpoint(
    checkpoint_prefix: str,
    checkpoint_format_version: Any = SaverDef.V2,
    meta_graph_suffix: str = "meta",
) -> None:
    """Removes the files of a checkpoint and its meta graph."""
    _remove(meta_graph_filename(checkpoint_prefix, meta_graph_suffix))
    if checkpoint_format_version != SaverDef.V2:
        _remove(checkpoint_prefix)
        return
    with translated(checkpoint_prefix):
        commit.settle(checkpoint_prefix)
    # Without its index it exists no more, whatever may go wrong with the rest.
    _remove(commit.index_path(checkpoint_prefix))
    for path in glob.glob(glob.escape(checkpoint_prefix) + ".data-?????-of-?????"):
        _remove(path)


def meta_graph_filename(checkpoint_filename: str, meta_graph_suffix: str = "meta") -> str:
    """Returns the file of a checkpoint's meta graph, which all shards share."""
    base = re.sub(r"-[\d\?]+-of-\d+$", "", checkpoint_filename)
    return f"{base}.{meta_graph_suffix}"


def _state_path(directory: str, latest_filename: str | None) -> str:
    return os.path.join(directory, latest_filename or "checkpoint")


def _file_of(prefix: str) -> str | None:
    """Returns the file by which a checkpoint exists: its index, or in the format V1 itself."""
    # As in TensorFlow, the prefix may be a pattern.
    for path in (commit.index_path(prefix), prefix):
        found = [path] if os.path.exists(path) else sorted(glob.glob(path))
        if found:
            return found[0]
    return None


def _remove(path: str) -> None:
    with translated(path):
        durable_files.remove_if_exists(path)
