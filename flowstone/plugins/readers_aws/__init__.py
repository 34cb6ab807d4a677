"""Items from AWS: the objects of an S3 bucket, the items of a DynamoDB table."""

from flowstone.plugins.readers_aws.dynamodb_reader import DynamoDBReader
from flowstone.plugins.readers_aws.s3_reader import S3Reader

__all__ = ["DynamoDBReader", "S3Reader"]
