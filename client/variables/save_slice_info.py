"""The place of a part of a partitioned variable in the whole."""

from __future__ import annotations

from collections.abc import Sequence

from flowray.proto.messages import meta_graph_pb2


def in_scope(name: str, import_scope: str | None) -> str:
    """Returns ``name`` as it is after importing into ``import_scope``."""
    return f"{import_scope}/{name}" if import_scope else name


class SaveSliceInfo:
    """The slice of the whole that a part is; checkpoints store parts by it.

    Args:
        full_name, full_shape: of the whole.
        var_offset: where the part begins, in each dimension.
        var_shape: the shape of the part.
        save_slice_info_def: the proto to take all these from.
        import_scope: a name scope to put before the proto's name.
    """

    def __init__(
        self,
        full_name: str | None = None,
        full_shape: Sequence[int] | None = None,
        var_offset: Sequence[int] | None = None,
        var_shape: Sequence[int] | None = None,
        save_slice_info_def: meta_graph_pb2.SaveSliceInfoDef | None = None,
        import_scope: str | None = None,
    ) -> None:
        if save_slice_info_def is not None:
            full_name = in_scope(save_slice_info_def.full_name, import_scope)
            full_shape = list(save_slice_info_def.full_shape)
            var_offset = list(save_slice_info_def.var_offset)
            var_shape = list(save_slice_info_def.var_shape)
        self.full_name = full_name
        self.full_shape = full_shape
        self.var_offset = var_offset
        self.var_shape = var_shape

    @property
    def spec(self) -> str:
        """The text that SaveV2 takes: the full shape, then ``offset,size`` of each dimension."""
        assert self.full_shape is not None
        assert self.var_offset is not None
        assert self.var_shape is not None
        whole = "".join(f"{size} " for size in self.full_shape)
        extents = zip(self.var_offset, self.var_shape, strict=True)
        return whole + ":".join(f"{offset},{size}" for offset, size in extents)

    def to_proto(self, export_scope: str | None = None) -> meta_graph_pb2.SaveSliceInfoDef | None:
        """Returns the proto; None if the whole is outside ``export_scope``."""
        assert self.full_name is not None
        if export_scope is not None and not self.full_name.startswith(export_scope + "/"):
            return None
        name = self.full_name.removeprefix(export_scope + "/") if export_scope else self.full_name
        return meta_graph_pb2.SaveSliceInfoDef(
            full_name=name,
            full_shape=self.full_shape,
            var_offset=self.var_offset,
            var_shape=self.var_shape,
        )
