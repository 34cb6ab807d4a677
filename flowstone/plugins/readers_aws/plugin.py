"""The plugin: registers `S3Reader` as ``s3`` and `DynamoDBReader` as ``dynamodb``."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.plugins.readers_aws.dynamodb_reader import DynamoDBReader
from flowstone.plugins.readers_aws.s3_reader import S3Reader


class AwsReadersPlugin(Plugin):
    """With it, ``reader("s3", bucket=…)`` and ``reader("dynamodb", table=…)`` work by name."""

    name = "readers_aws"

    def register(self, registries: Registries) -> None:
        """Add the readers; what they read with is asked for when they begin."""
        registries.readers.register("s3", S3Reader)
        registries.readers.register("dynamodb", DynamoDBReader)


plugin = AwsReadersPlugin()
