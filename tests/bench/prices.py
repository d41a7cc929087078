"""Public list prices in dollars, us-east-1, on demand, no free tier, as published in 2026-11.

Each line names AWS's pricing page; check them before you rely on them.
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
    "Fargate vCPU-hours": 0.03238,  # Fargate pricing: Linux/Arm
    "Fargate GB-hours": 0.00356,  # Fargate pricing: Linux/Arm
    "disk GB-hours above 20 GB": 0.000111,  # Fargate pricing: ephemeral storage
    "public IPv4 hours": 0.005,  # VPC pricing: in-use public IPv4 address
}
