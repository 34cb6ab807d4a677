import pytest

from flowstone.core.contracts.codec import Codec
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.testing.contracts.codec_contract import CodecContract


class TestJsonCodec(CodecContract):
    @pytest.fixture
    def codec(self) -> Codec:
        return JsonCodec()
