"""The ports on AWS, and in memory: the only modules that know boto3."""
