"""CloudFormation: what it refuses, and what the SAM transform makes of the two APIs."""

import hashlib
import json
import string
from typing import Any

from headstart_local.patches.context import PatchContext

_METHOD_ANY = "x-amazon-apigateway-any-method"


def api_id(stack: str, logical_id: str) -> str:
    """Return the id that an API of a stack will have: ten characters, as API Gateway's are.

    Known before the deployment, so that the URLs with it can be parameters of that deployment.
    """
    digest = hashlib.sha256(f"{stack}/{logical_id}".encode()).hexdigest()
    return f"a{digest[:9]}"


def unknown_parameters_refused(context: PatchContext) -> None:
    """Refuse parameters that the template doesn't declare, in the words of CloudFormation.

    ValidationError, "Parameters: [Name] do not exist in the template" (API reference: CreateStack,
    CreateChangeSet and UpdateStack); a mistyped name would go unnoticed otherwise.
    """
    stock = context.emulator.cloudformation_callers[0]._resolve_parameters

    def resolve(template: dict[str, Any], provided: list[dict[str, Any]], *rest: Any) -> Any:
        declared = template.get("Parameters") or {}
        unknown = [item["Key"] for item in provided if item.get("Key", "") not in declared]
        if unknown:
            raise ValueError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
        return stock(template, provided, *rest)

    # Each has imported the function by its name.
    for module in context.emulator.cloudformation_callers:
        module._resolve_parameters = resolve


def predictable_api_ids(context: PatchContext) -> None:
    """Give an API an id that is known beforehand.

    Not a rule of AWS but a local need: there the template builds the URLs from the ids itself,
    here they have another shape and come in as parameters.
    """
    handlers = context.emulator.cloudformation._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    stock = handlers["create"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        tags = {**(props.get("Tags") or {}), "ms-custom-id": api_id(stack, logical_id)}
        return stock(logical_id, {**props, "Tags": tags}, stack)

    handlers["create"] = create


def http_api_body(context: PatchContext) -> None:
    """Create the routes, integrations, authorizers and CORS that an HTTP API's Body describes.

    AWS::Serverless::HttpApi puts all of them there ("AWS::ApiGatewayV2::Api", property Body;
    "Working with OpenAPI definitions for HTTP APIs").
    """
    handlers = context.emulator.cloudformation._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    gateway = context.emulator.apigateway
    stock = handlers["create"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        body = props.get("Body") or {}
        cors = body.get("x-amazon-apigateway-cors")
        if cors:
            # Of a list parameter the transform makes one string here, a list on AWS.
            lists = {k: v.split(",") if isinstance(v, str) else v for k, v in cors.items()}
            props = {**props, "CorsConfiguration": lists}
        created, attributes = stock(logical_id, props, stack)
        authorizers = {
            name: _authorizer(gateway, created, name, scheme["x-amazon-apigateway-authorizer"])
            for name, scheme in (body.get("components") or {}).get("securitySchemes", {}).items()
            if "x-amazon-apigateway-authorizer" in scheme
        }
        for path, operations in (body.get("paths") or {}).items():
            for method, operation in operations.items():
                if "x-amazon-apigateway-integration" in operation:
                    _route(gateway, created, _route_key(path, method), operation, authorizers)
        return created, attributes

    handlers["create"] = create


def _authorizer(gateway: Any, api: str, name: str, scheme: dict[str, Any]) -> str:
    request = {
        "name": name,
        "authorizerType": "JWT",
        "identitySource": [scheme.get("identitySource", "$request.header.Authorization")],
        "jwtConfiguration": scheme["jwtConfiguration"],
    }
    return str(json.loads(gateway._create_authorizer(api, request)[2])["authorizerId"])


def _route_key(path: str, method: str) -> str:
    if path == "/$default":
        return "$default"
    return f"{'ANY' if method == _METHOD_ANY else method.upper()} {path}"


def _route(
    gateway: Any, api: str, key: str, operation: dict[str, Any], authorizers: dict[str, str]
) -> None:
    source = operation["x-amazon-apigateway-integration"]
    integration = {
        "integrationType": source["type"].upper(),
        "integrationUri": source["uri"],
        "payloadFormatVersion": source.get("payloadFormatVersion", "2.0"),
    }
    answer = json.loads(gateway._create_integration(api, integration)[2])
    route = {"routeKey": key, "target": f"integrations/{answer['integrationId']}"}
    for requirement in operation.get("security", []):
        for name, scopes in requirement.items():
            if name in authorizers:
                route |= {"authorizationType": "JWT", "authorizerId": authorizers[name]}
                route |= {"authorizationScopes": scopes}
    gateway._create_route(api, route)


def cors_configuration(context: PatchContext) -> None:
    """Keep CORS as the API's own field names, for templates write them with a capital.

    Templates have AllowOrigins where the API has allowOrigins ("AWS::ApiGatewayV2::Api Cors").
    """
    handlers = context.emulator.cloudformation._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    stock = handlers["create"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        created, attributes = stock(logical_id, props, stack)
        api = context.emulator.apigateway._apis[created]
        cors = api.get("corsConfiguration") or {}
        if cors:
            api["corsConfiguration"] = {key[0].lower() + key[1:]: cors[key] for key in cors}
        return created, attributes

    handlers["create"] = create


def api_deployments(context: PatchContext) -> None:
    """Accept the deployments of APIs, which WebSocket APIs without AutoDeploy have.

    A stage refers to one by its id ("AWS::ApiGatewayV2::Deployment").
    """
    gateway = context.emulator.apigateway

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        deployment = json.loads(gateway._create_deployment(props["ApiId"], {})[2])
        return deployment["deploymentId"], {"DeploymentId": deployment["deploymentId"]}

    context.emulator.cloudformation._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Deployment"] = {
        "create": create,
        "delete": lambda physical_id, props: None,
    }


def cluster_providers(context: PatchContext) -> None:
    """Associate capacity providers with a cluster that is there already.

    ("AWS::ECS::ClusterCapacityProviderAssociations"; it calls PutClusterCapacityProviders.)
    """
    ecs = context.emulator.ecs

    def associate(cluster: str, providers: list[str]) -> None:
        ecs._put_cluster_capacity_providers({"cluster": cluster, "capacityProviders": providers})

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        associate(props["Cluster"], props["CapacityProviders"])
        return props["Cluster"], {}

    kind = "AWS::ECS::ClusterCapacityProviderAssociations"
    context.emulator.cloudformation._RESOURCE_HANDLERS[kind] = {
        "create": create,
        "delete": lambda physical_id, props: associate(physical_id, []),
    }


def generated_secrets(context: PatchContext) -> None:
    """Leave out of a generated secret the punctuation that it must not have.

    ("AWS::SecretsManager::Secret GenerateSecretString", property ExcludePunctuation.)
    """
    handlers = context.emulator.cloudformation._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    stock = handlers["create"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        wanted = props.get("GenerateSecretString")
        if wanted and wanted.get("ExcludePunctuation"):
            excluded = wanted.get("ExcludeCharacters", "") + string.punctuation
            props = {**props, "GenerateSecretString": {**wanted, "ExcludeCharacters": excluded}}
        return stock(logical_id, props, stack)

    handlers["create"] = create


def time_to_live(context: PatchContext) -> None:
    """Let rows of a table expire by the attribute that its template names.

    ("AWS::DynamoDB::Table TimeToLiveSpecification"; it calls UpdateTimeToLive.)
    """
    handlers = context.emulator.cloudformation._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    stock = handlers["create"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        created = stock(logical_id, props, stack)
        if wanted := props.get("TimeToLiveSpecification"):
            asked = {"TableName": created[0], "TimeToLiveSpecification": wanted}
            context.emulator.dynamodb._update_ttl(asked)
        return created

    handlers["create"] = create
