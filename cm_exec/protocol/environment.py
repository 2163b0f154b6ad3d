"""The names of the environment variables that the platform sets and that handlers see."""

from typing import Final

GET_JOB_URI: Final = "GET_JOB_URI"
POST_RESULT_URI: Final = "POST_RESULT_URI"
POST_SCHEMA_URI: Final = "POST_SCHEMA_URI"
RESTART_NOTIFICATION_URI: Final = "RESTART_NOTIFICATION_URI"
MODULE_AUTH_TOKEN: Final = "MODULE_AUTH_TOKEN"  # noqa: S105 - the variable's name
DEFAULT_CA_PATH: Final = "DEFAULT_CA_PATH"
PEER_CA_PATH: Final = "CONNECTIONS_TO_OTHER_PODS_CA_PATH"
CONNECTION_TO_RUNTIME: Final = "CONNECTION_TO_RUNTIME"
MAX_CONCURRENT_TASKS: Final = "MAX_CONCURRENT_TASKS"
COMPUTE_SESSION_ID: Final = "COMPUTE_SESSION_ID"

CONNECTION_VARIABLES: Final = frozenset(
    {
        GET_JOB_URI,
        POST_RESULT_URI,
        POST_SCHEMA_URI,
        RESTART_NOTIFICATION_URI,
        MODULE_AUTH_TOKEN,
        CONNECTION_TO_RUNTIME,
        "GET_JOB_PATH",
        "GET_JOB_URI_V2",
        "POST_RESULT_PATH",
        "POST_RESULT_URI_V2",
        "POST_SCHEMA_URI_V2",
        "RUNTIME_API",
        "RUNTIME_HOST",
        "RUNTIME_PORT",
    }
)
"""Variables of the launcher's connection with the runtime, which no handler gets. The CA paths stay: they name public
certificates, and Foundry's documented recipes for calls to Foundry need them."""

CM_JOB_ID: Final = "CM_JOB_ID"
CM_QUERY_TYPE: Final = "CM_QUERY_TYPE"
CM_USER_ID: Final = "CM_USER_ID"
CM_JOB_DIR: Final = "CM_JOB_DIR"
CM_AUTH_HEADER: Final = "CM_AUTH_HEADER"
CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN: Final = "CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN"  # noqa: S105

JOB_VARIABLES: Final = frozenset(
    {CM_JOB_ID, CM_JOB_DIR, CM_QUERY_TYPE, CM_USER_ID, CM_AUTH_HEADER, CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN}
)
"""Variables that describe the job to its handler."""
