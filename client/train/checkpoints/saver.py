"""``tf.train.Saver``: saves variables to checkpoints and restores them."""

from __future__ import annotations

import math
import numbers
import os
import time
from collections.abc import Sequence
from typing import Any

from flowray.client.framework import meta_graph
from flowray.client.framework.collection_protos import register_proto_function
from flowray.client.framework.graph import Graph, GraphKeys, get_default_graph
from flowray.client.platform import logging
from flowray.client.session.session import Session
from flowray.client.tf_export import tf_export
from flowray.client.train.checkpoints import checkpoint_management
from flowray.client.train.checkpoints.restore_errors import check_resources, explained
from flowray.client.train.checkpoints.saveable import all_saveable_objects
from flowray.client.train.checkpoints.saver_builder import BulkSaverBuilder
from flowray.proto import errors
from flowray.proto.messages import graph_pb2
from flowray.proto.messages.checkpoint_pb2 import SaverDef
from flowray.proto.messages.meta_graph_pb2 import MetaGraphDef


@tf_export("train.Saver")
class Saver:
    """Saves variables and restores them; adds the ops for it to the graph.

    A checkpoint is a set of files with a common prefix, such as ``dir/model.ckpt-1000``. The files
    are written by the tasks that the ops run on (where the variables are, if ``sharded``), so all
    tasks and the client need to see the same directory under the same path.

    Args:
        var_list: a list of the variables to save, which are saved under their names, or a dict
            from names to variables; parts of a variable as a list. All global variables if None.
        reshape: whether a variable may be restored from a tensor of another shape.
        sharded: whether each device writes a file of its own.
        max_to_keep: how many checkpoints to keep; None or 0 for all.
        keep_checkpoint_every_n_hours: of those that ``max_to_keep`` would remove, one is kept for
            this many hours.
        name: the name scope of the ops ("save").
        restore_sequentially: accepted for TensorFlow's sake; all is restored by one op per shard.
        saver_def: describes the ops of a Saver that the graph has already; ``name`` is then the
            scope that the graph was imported into.
        builder: the ``BulkSaverBuilder`` that makes the ops.
        defer_build: whether to wait for a call of ``build()``.
        allow_empty: whether there may be no variables; ``save`` and ``restore`` then do nothing.
        write_version: the format, which must be ``SaverDef.V2``.
        pad_step_number: whether steps get 8 digits in the names of files.
        save_relative_paths: whether the file ``checkpoint`` holds paths relative to its directory,
            so that it can be moved.
        filename: the prefix where none is fed ("model").

    Raises:
        TypeError: ``var_list`` holds something that cannot be saved.
        ValueError: two variables have one name, or there are none.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: SaverDef | None = None,
        builder: BulkSaverBuilder | None = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: Any = SaverDef.V2,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:
        if defer_build and var_list:
            raise ValueError(
                "If `var_list` is provided then build cannot be deferred. Either set "
                "defer_build=False or var_list=None."
            )
        self._var_list = var_list
        self._reshape = reshape
        self._sharded = sharded
        self._max_to_keep = max_to_keep
        self._keep_checkpoint_every_n_hours = keep_checkpoint_every_n_hours
        self._name = name
        self._restore_sequentially = restore_sequentially
        self.saver_def = saver_def
        self._builder = builder
        self._is_built = False
        self._allow_empty = allow_empty
        self._is_empty = False
        self._write_version = write_version
        self._pad_step_number = pad_step_number
        self._save_relative_paths = save_relative_paths
        self._filename = filename or "model"
        self._last_checkpoints: list[tuple[str, float]] = []
        self._next_checkpoint_time = math.inf
        if not defer_build:
            self.build()
        if self.saver_def is not None:
            self._check_saver_def()

    def build(self) -> None:
        """Adds the ops, if that was deferred."""
        if self._is_built:
            return
        self._is_built = True
        if self.saver_def is None:
            if self._var_list is None:
                self._var_list = all_saveable_objects()
            if not self._var_list:
                if not self._allow_empty:
                    raise ValueError("No variables to save")
                self._is_empty = True
                return
            builder = self._builder or BulkSaverBuilder(self._write_version)
            self.saver_def = builder.build(
                self._var_list,
                reshape=self._reshape,
                sharded=self._sharded,
                max_to_keep=self._max_to_keep,
                keep_checkpoint_every_n_hours=self._keep_checkpoint_every_n_hours,
                name=self._name,
                restore_sequentially=self._restore_sequentially,
                filename=self._filename,
            )
        elif self._name:
            self.saver_def = _renamed(
                self.saver_def, lambda name: meta_graph.prepend_name_scope(name, self._name)
            )
        self._check_saver_def()
        self._next_checkpoint_time = time.time() + self._keep_seconds

    def _check_saver_def(self) -> None:
        if not isinstance(self.saver_def, SaverDef):
            raise ValueError(f"saver_def must be a saver_pb2.SaverDef: {self.saver_def}")
        for field in ("save_tensor_name", "restore_op_name"):
            if not getattr(self.saver_def, field):
                raise ValueError(f"saver_def must specify the {field}: {self.saver_def}")

    @property
    def _built_def(self) -> SaverDef:
        assert self.saver_def is not None
        return self.saver_def

    @property
    def _keep_seconds(self) -> float:
        return self._built_def.keep_checkpoint_every_n_hours * 3600

    # Saving and restoring -------------------------------------------------------------------

    def save(
        self,
        sess: Session,
        save_path: str | os.PathLike[str],
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> str | None:
        """Saves the variables and returns the prefix of the new checkpoint, None if there are none.

        Args:
            sess: the session whose variables are saved.
            save_path: the prefix; its directory must exist.
            global_step: a number (or a tensor or its name) that is added to the prefix.
            latest_filename: the name of the file that lists the checkpoints ("checkpoint").
            meta_graph_suffix: the suffix of the file with the graph.
            write_meta_graph: whether to write that file.
            write_state: whether to update the list, and remove old checkpoints.
            strip_default_attrs: whether the graph is written without attributes that have their
                default values.
            save_debug_info: must be False.

        Raises:
            RuntimeError: ``build`` was not called.
            TypeError: ``sess`` is not a Session.
            ValueError: the directory does not exist, or names collide.
            OpError: TensorFlow's errors of saving; the checkpoints before are unharmed.
        """
        if not self._is_built:
            raise RuntimeError("`build()` should be called before save if defer_build==True")
        latest_filename = latest_filename or "checkpoint"
        if os.path.dirname(latest_filename):
            raise ValueError("'latest_filename' must not contain path components")
        save_path = os.fspath(save_path)
        prefix = save_path
        if global_step is not None:
            is_number = isinstance(global_step, numbers.Integral)
            step = int(global_step if is_number else sess.run(global_step))
            prefix = f"{save_path}-{step:08d}" if self._pad_step_number else f"{save_path}-{step}"
        elif os.path.basename(save_path) == latest_filename and not self._sharded:
            raise ValueError(
                f"'latest_filename' collides with 'save_path': '{latest_filename}' and "
                f"'{save_path}'"
            )
        if not isinstance(sess, Session):
            raise TypeError(f"'sess' must be a Session; {sess}")
        saved = None if self._is_empty else self._run_save(sess, save_path, prefix)
        if write_meta_graph:
            with sess.graph.as_default():
                self.export_meta_graph(
                    checkpoint_management.meta_graph_filename(prefix, meta_graph_suffix),
                    strip_default_attrs=strip_default_attrs,
                    save_debug_info=save_debug_info,
                )
        if saved is not None and write_state:
            # Last, so that the listed checkpoints are complete even if the process ends here.
            self._write_state(saved, save_path, latest_filename, meta_graph_suffix)
        return saved

    def _run_save(self, sess: Session, save_path: str, prefix: str) -> str:
        definition = self._built_def
        try:
            saved = sess.run(definition.save_tensor_name, {definition.filename_tensor_name: prefix})
        except (errors.FailedPreconditionError, errors.NotFoundError):
            if os.path.isdir(os.path.dirname(save_path) or "."):
                raise
            raise ValueError(
                f"Parent directory of {save_path} doesn't exist, can't save.{_machines(sess)}"
            ) from None
        return os.fsdecode(saved)

    def _write_state(
        self, saved: str, save_path: str, latest_filename: str, meta_graph_suffix: str
    ) -> None:
        """Lists the new checkpoint, and then removes those that are no longer listed."""
        superseded = self._record(saved)
        checkpoint_management.write_checkpoint_state(
            os.path.dirname(save_path),
            saved,
            self.last_checkpoints,
            latest_filename,
            relative=self._save_relative_paths,
        )
        if superseded is None:
            return
        path, written = superseded
        if written > self._next_checkpoint_time:
            self._next_checkpoint_time += self._keep_seconds
            return
        try:
            checkpoint_management.remove_checkpoint(
                path, self._built_def.version, meta_graph_suffix
            )
        except errors.OpError as error:
            # The checkpoint that was asked for is there; an old one too many does no harm.
            logging.warning("Ignoring: %s", error)

    def _record(self, path: str) -> tuple[str, float] | None:
        """Adds a checkpoint to the list; the one that goes for it, if any, with its time."""
        limit = self._built_def.max_to_keep
        if not limit:
            return None
        self._last_checkpoints = [p for p in self._last_checkpoints if p[0] != path]
        self._last_checkpoints.append((path, time.time()))
        return self._last_checkpoints.pop(0) if len(self._last_checkpoints) > limit else None

    def restore(self, sess: Session, save_path: str | os.PathLike[str] | None) -> None:
        """Gives the variables, which need no initialization, the values of a checkpoint.

        Args:
            save_path: its prefix, as ``save`` or ``tf.train.latest_checkpoint`` returns it.

        Raises:
            ValueError: there is no such checkpoint.
            NotFoundError: it lacks a variable.
            InvalidArgumentError: a variable has another dtype or shape there.
            DataLossError, OutOfRangeError: it is damaged, or cut off.
        """
        if self._is_empty:
            return
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        prefix = os.fspath(save_path)
        if not checkpoint_management.checkpoint_exists(prefix):
            raise ValueError(
                f"The passed save_path is not a valid checkpoint: {prefix}{_machines(sess)}"
            )
        logging.info("Restoring parameters from %s", prefix)
        definition = self._built_def
        try:
            if self._var_list is not None and not self._reshape:
                check_resources(prefix, self._var_list)
            sess.run(definition.restore_op_name, {definition.filename_tensor_name: prefix})
        except errors.OpError as error:
            raise explained(error, prefix, self._var_list) from error

    # The list of checkpoints ----------------------------------------------------------------

    @property
    def last_checkpoints(self) -> list[str]:
        """The checkpoints that are kept, from the oldest to the latest."""
        return [path for path, _ in self._last_checkpoints]

    def set_last_checkpoints(self, last_checkpoints: list[str]) -> None:
        """Sets the list; the checkpoints of it will never be removed."""
        assert isinstance(last_checkpoints, list)
        self._last_checkpoints = [(path, math.inf) for path in last_checkpoints]

    def set_last_checkpoints_with_time(
        self, last_checkpoints_with_time: list[tuple[str, float]]
    ) -> None:
        """Sets the list, as pairs of path and time in seconds since 1970."""
        assert isinstance(last_checkpoints_with_time, list)
        self._last_checkpoints = list(last_checkpoints_with_time)

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Sets the list after a restart to those of ``checkpoint_paths`` that exist."""
        found = []
        for path in checkpoint_paths:
            try:
                times = checkpoint_management.get_checkpoint_mtimes([path])
            except errors.NotFoundError:
                continue  # another process has just removed it
            found += [(path, written) for written in times]
        self.set_last_checkpoints_with_time(found)

    # Protos ---------------------------------------------------------------------------------

    def as_saver_def(self) -> SaverDef | None:
        """Returns the SaverDef that describes the ops; None if there are none."""
        return self.saver_def

    def to_proto(self, export_scope: str | None = None) -> SaverDef | None:
        """Returns the SaverDef with names relative to ``export_scope``; None if outside of it."""
        definition = self.saver_def
        if export_scope is None or definition is None:
            return definition
        names = (
            definition.filename_tensor_name,
            definition.save_tensor_name,
            definition.restore_op_name,
        )
        if not all(name.startswith(export_scope) for name in names):
            return None
        return _renamed(definition, lambda name: meta_graph.strip_name_scope(name, export_scope))

    @staticmethod
    def from_proto(saver_def: SaverDef, import_scope: str | None = None) -> Saver:
        """Makes the Saver of a SaverDef, in a graph imported into ``import_scope``."""
        return Saver(saver_def=saver_def, name=import_scope)

    def export_meta_graph(
        self,
        filename: str | None = None,
        collection_list: Sequence[str] | None = None,
        as_text: bool = False,
        export_scope: str | None = None,
        clear_devices: bool = False,
        clear_extraneous_savers: bool = False,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> MetaGraphDef:
        """Calls ``tf.train.export_meta_graph`` for the default graph with this Saver."""
        return export_meta_graph(
            filename,
            graph_def=get_default_graph().as_graph_def(add_shapes=True),
            saver_def=self.saver_def,
            collection_list=collection_list,
            as_text=as_text,
            export_scope=export_scope,
            clear_devices=clear_devices,
            clear_extraneous_savers=clear_extraneous_savers,
            strip_default_attrs=strip_default_attrs,
            save_debug_info=save_debug_info,
        )


def _renamed(definition: SaverDef, rename: Any) -> SaverDef:
    result = SaverDef()
    result.CopyFrom(definition)
    for field in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
        setattr(result, field, rename(getattr(definition, field)))
    return result


register_proto_function(
    GraphKeys.SAVERS, proto_type=SaverDef, to_proto=Saver.to_proto, from_proto=Saver.from_proto
)


def get_saver_or_default() -> Saver:
    """Returns the Saver of the graph's collection; a sharded one is added if there is none.

    Raises:
        RuntimeError: there are several.
    """
    savers = get_default_graph().get_collection(GraphKeys.SAVERS)
    if len(savers) > 1:
        raise RuntimeError(
            f"More than one item in collection {GraphKeys.SAVERS}. Please indicate which one to "
            "use by passing it to the constructor."
        )
    if savers:
        saver: Saver = savers[0]
        return saver
    saver = Saver(sharded=True, allow_empty=True)
    get_default_graph().add_to_collection(GraphKeys.SAVERS, saver)
    return saver


@tf_export("train.export_meta_graph")
def export_meta_graph(
    filename: str | None = None,
    meta_info_def: MetaGraphDef.MetaInfoDef | None = None,
    graph_def: graph_pb2.GraphDef | None = None,
    saver_def: SaverDef | None = None,
    collection_list: Sequence[str] | None = None,
    as_text: bool = False,
    graph: Graph | None = None,
    export_scope: str | None = None,
    clear_devices: bool = False,
    clear_extraneous_savers: bool = False,
    strip_default_attrs: bool = False,
    save_debug_info: bool = False,
) -> MetaGraphDef:
    """Returns the graph with its collections as a MetaGraphDef; writes it to ``filename``.

    Args:
        meta_info_def: to be made part of it.
        graph_def: the nodes, if not those of ``graph``.
        saver_def: describes the Saver to restore the variables with.
        collection_list: the names of the collections; all if None.
        as_text: whether to write text.
        graph: the graph; the default one if None.
        export_scope: a name scope: exports only its nodes, without its name.
        clear_devices: whether to leave out where the nodes are placed.
        clear_extraneous_savers: whether to leave out other Savers than that of ``saver_def``.
        strip_default_attrs: whether to leave out attributes that have their default values.
        save_debug_info: must be False: stack traces are not written.
    """
    if save_debug_info:
        raise errors.unimplemented("flowray does not write stack traces (save_debug_info)")
    exported, _ = meta_graph.export_scoped_meta_graph(
        filename=filename,
        meta_info_def=meta_info_def,
        graph_def=graph_def,
        saver_def=saver_def,
        collection_list=collection_list,
        as_text=as_text,
        graph=graph,
        export_scope=export_scope,
        clear_devices=clear_devices,
        clear_extraneous_savers=clear_extraneous_savers,
        strip_default_attrs=strip_default_attrs,
    )
    return exported


@tf_export("train.import_meta_graph")
def import_meta_graph(
    meta_graph_or_file: Any,
    clear_devices: bool = False,
    import_scope: str | None = None,
    **kwargs: Any,
) -> Saver | None:
    """Adds the nodes and collections of a MetaGraphDef to the default graph.

    Args:
        meta_graph_or_file: the MetaGraphDef, or the file that it is in.
        clear_devices: whether to forget where the nodes were placed.
        import_scope: a name scope to put them in.
        **kwargs: ``input_map``, as ``tf.import_graph_def`` takes it.

    Returns:
        A Saver for the variables: the one that the MetaGraphDef describes, else a new one; None if
        there are no variables.

    Raises:
        OSError: the file does not exist or holds no MetaGraphDef.
    """
    definition = meta_graph.as_meta_graph_def(meta_graph_or_file)
    imported = meta_graph.import_scoped_meta_graph(
        definition, clear_devices=clear_devices, import_scope=import_scope, **kwargs
    )
    if definition.HasField("saver_def"):
        scope = import_scope
        for name, variable in imported.items():
            # The scope may have got a number, which the variables' names tell.
            scope = variable.name.removesuffix(name).removesuffix("/")
            break
        return Saver(saver_def=definition.saver_def, name=scope)
    if all_saveable_objects(import_scope):
        return Saver()
    logging.info("Saver not created because there are no variables in the graph to restore")
    return None


def _machines(sess: Any) -> str:
    """Tells on which machines a path is looked for; nothing if the session is of this process."""
    if not isinstance(sess, Session) or not sess.sess_str:
        return ""
    return " (The client looks for it on its own machine, the tasks of the cluster on theirs.)"
