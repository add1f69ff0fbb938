"""The generated code, the service table and the generator."""

import pytest

from flowray.proto.messages import generate, master_pb2, stream_pb2
from flowray.proto.wire import service


def test_methods():
    assert len(service.METHODS) == 10
    for name, (request, response) in service.METHODS.items():
        assert request is getattr(master_pb2, f"{name}Request")
        assert response is getattr(master_pb2, f"{name}Response")
        assert service.path(name) == f"/tensorflow.MasterService/{name}"
    assert service.STREAM_PATH == "/flowray.MasterService/Stream"
    with pytest.raises(KeyError):
        service.path("Nonsense")


def test_stream_messages():
    request = stream_pb2.StreamRequest(id=1, cancel=7)
    request.prepare_run.fetch.append("x:0")
    assert request.WhichOneof("body") == "prepare_run"
    response = stream_pb2.StreamResponse(id=1, error_code=3, error_message="bad")
    assert response.WhichOneof("body") is None


def test_unknown_fields_survive():
    # What a newer client sends and we do not know must come through unchanged.
    data = b"\xfa\x7f\x03abc"
    assert master_pb2.CreateSessionRequest.FromString(data).SerializeToString() == data


def test_generated_code_is_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "DIRECTORY", tmp_path)
    for name, content in {"a_pb2.py": b"old", "gone_pb2.pyi": b"x", "same_pb2.py": b"s"}.items():
        (tmp_path / name).write_bytes(content)
    fresh = {"a_pb2.py": b"new", "b_pb2.py": b"b", "same_pb2.py": b"s"}
    monkeypatch.setattr(generate, "generate", lambda: fresh)
    assert generate.stale_files(fresh) == ["a_pb2.py", "b_pb2.py", "gone_pb2.pyi"]
    assert generate.main(["--check"]) == 1
    assert "a_pb2.py" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == fresh
    assert generate.main(["--check"]) == 0
