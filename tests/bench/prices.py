"""Public list prices in dollars, us-east-1, on demand, no free tier.

Each line names AWS's pricing page. Those of API Gateway, Lambda, DynamoDB, S3, CloudWatch, X-Ray,
KMS keys and Fargate on Arm were looked up on 26 November 2026, as pages of 2025 and 2026 quote
them; the others are of November 2026 and were not looked up again. Check them before you rely on
them.
"""

PRICES = {
    "HTTP API requests": 1.00e-6,  # API Gateway pricing: HTTP APIs, first 300 million
    "WebSocket messages": 1.00e-6,  # API Gateway pricing: WebSocket APIs, each 32 KB
    "WebSocket connection minutes": 0.25e-6,  # API Gateway pricing: WebSocket APIs
    "Lambda requests": 0.20e-6,  # Lambda pricing
    "Lambda GB-seconds": 0.0000133334,  # Lambda pricing: Arm
    "state transitions": 0.025e-3,  # Step Functions pricing: Standard workflows
    "write units": 0.625e-6,  # DynamoDB pricing: on-demand, Standard table class
    "read units": 0.125e-6,  # DynamoDB pricing: on-demand, Standard table class
    "table GB-months": 0.45,  # DynamoDB pricing: 0.25 of storage, 0.20 of point-in-time recovery
    "S3 writes and lists": 0.005e-3,  # S3 pricing: Standard, PUT, COPY, POST, LIST
    "S3 reads": 0.0004e-3,  # S3 pricing: Standard, GET and all others
    "archive GB-months": 0.023,  # S3 pricing: Standard, first 50 TB
    "log GB": 0.50,  # CloudWatch pricing: logs, Standard class
    "traces": 5.00e-6,  # X-Ray pricing: traces recorded
    "metric months": 0.30,  # CloudWatch pricing: first 10 000 custom metrics
    "alarm months": 0.10,  # CloudWatch pricing: standard resolution
    "KMS key months": 1.00,  # KMS pricing
    "KMS requests": 0.03e-4,  # KMS pricing: symmetric keys
    "secret months": 0.40,  # Secrets Manager pricing
    "queue requests": 0.40e-6,  # SQS pricing: standard queues
    "schedule invocations": 1.00e-6,  # EventBridge pricing: Scheduler
    "image GB-months": 0.10,  # ECR pricing
    "Fargate vCPU-hours": 0.03238,  # Fargate pricing: Linux/Arm
    "Fargate GB-hours": 0.00356,  # Fargate pricing: Linux/Arm
    "disk GB-hours above 20 GB": 0.000111,  # Fargate pricing: ephemeral storage
    "public IPv4 hours": 0.005,  # VPC pricing: in-use public IPv4 address
}
