"""The contract compiled with its comments, which the generated Python stubs do not carry."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.contract.commands import BUF, run
from tests.contract.source import Source


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Return the descriptors of `protos/`, comments included (a buf image is a FileDescriptorSet)."""
    image = tmp_path_factory.mktemp("contract") / "authapi.binpb"
    built = run(BUF, "build", "-o", image)
    assert built.returncode == 0, built.stderr
    files = FileDescriptorSet.FromString(image.read_bytes()).file
    return Source([file for file in files if file.package == "authapi.v1"])
