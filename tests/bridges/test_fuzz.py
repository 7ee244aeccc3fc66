"""A few hundred random inputs for every codec and live server; `fuzzing` does it for hours."""

import pytest

from tests.bridges.fuzzing import CODECS, SERVERS, fuzz, under_fire


@pytest.mark.parametrize("name", CODECS)
def test_codecs(name: str) -> None:
    check, inputs = CODECS[name]
    fuzz(check, inputs, 150)


@pytest.mark.filterwarnings("ignore:.*calling 'step.*")
@pytest.mark.parametrize("name", SERVERS)
def test_servers(name: str) -> None:
    protocol, inputs = SERVERS[name]
    with under_fire(protocol) as check:
        fuzz(check, inputs, 60)
