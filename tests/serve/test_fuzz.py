"""A few hundred random inputs for every codec and live server; `fuzzing` does it for hours."""

import pytest

from tests.serve.fuzz_codecs import CODECS
from tests.serve.fuzz_servers import SERVERS, under_fire
from tests.serve.fuzzing import fuzz


@pytest.mark.parametrize("name", CODECS)
def test_codecs(name: str) -> None:
    check, inputs = CODECS[name]
    fuzz(check, inputs, 150)


@pytest.mark.filterwarnings("ignore:.*calling 'step.*")
@pytest.mark.parametrize("name", SERVERS)
def test_servers(name: str) -> None:
    with under_fire(name) as check:
        fuzz(check, SERVERS[name], 60)
