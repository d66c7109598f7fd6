//! The service models of the requests: members, types, lengths and patterns, as AWS publishes them.

use crate::wire::shape::{Member, Pattern, Shape, pattern};

/// No limit.
const ANY: usize = usize::MAX;

static RESOURCE_NAME_PATTERN: Pattern = pattern!(r"^[0-9A-Za-z]+[0-9A-Za-z_\-]*$");
static TEMPLATE_VERSION_PATTERN: Pattern = pattern!(r"^(0|([1-9]{1}\d*))$");
static NEXT_TOKEN_PATTERN: Pattern = pattern!(r"^[A-Za-z0-9+=/]+$");
static DEPLOYMENT_ID_PATTERN: Pattern =
    pattern!(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$");
static ARN_PATTERN: Pattern = pattern!(
    r"^arn:(aws|aws-cn|aws-us-gov):[a-zA-Z0-9-]+:[a-zA-Z0-9-]*:\d{12}:([\w+=,.@-]+[/:])*[\w+=,.@-]+$"
);
static ACCOUNT_ID_PATTERN: Pattern = pattern!(r"^\d{12}$");
static EVENT_BUS_PATTERN: Pattern = pattern!(
    r"(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?[\.\-_A-Za-z0-9]+"
);
static ENDPOINT_ID_PATTERN: Pattern = pattern!(r"^[A-Za-z0-9\-]+[\.][A-Za-z0-9\-]+$");

pub(crate) static RESOURCE_NAME: Shape = matching(1, 100, &RESOURCE_NAME_PATTERN);
pub(crate) static TEMPLATE_VERSION_PART: Shape = matching(1, 20, &TEMPLATE_VERSION_PATTERN);
pub(crate) static DEPLOYMENT_ID: Shape = matching(0, ANY, &DEPLOYMENT_ID_PATTERN);
pub(crate) static ACCOUNT_ID: Shape = matching(0, ANY, &ACCOUNT_ID_PATTERN);
pub(crate) static DESCRIPTION: Shape = text(0, 500);
pub(crate) static TAG_KEY: Shape = text(1, 128);
pub(crate) static TAG_VALUE: Shape = text(0, 256);
static NEXT_TOKEN: Shape = matching(0, ANY, &NEXT_TOKEN_PATTERN);
static ARN: Shape = matching(1, 200, &ARN_PATTERN);
pub(crate) static ANY_TEXT: Shape = text(0, ANY);
static MAX_PAGE_RESULTS: Shape = Shape::Integer { min: 1, max: 100 };

static TEMPLATE_FILTER: Shape = Shape::Structure(&[
    required("majorVersion", &TEMPLATE_VERSION_PART),
    required("templateName", &RESOURCE_NAME),
]);
static TEMPLATE_FILTERS: Shape = list(0, ANY, &TEMPLATE_FILTER);

/// The input of `ListEnvironments`.
pub(crate) static LIST_ENVIRONMENTS: &[Member] = &[
    optional("environmentTemplates", &TEMPLATE_FILTERS),
    optional("maxResults", &MAX_PAGE_RESULTS),
    optional("nextToken", &NEXT_TOKEN),
];

/// The input of `GetEnvironment`.
pub(crate) static GET_ENVIRONMENT: &[Member] = &[required("name", &RESOURCE_NAME)];

/// The input of `CancelEnvironmentDeployment`.
pub(crate) static CANCEL_ENVIRONMENT_DEPLOYMENT: &[Member] =
    &[required("environmentName", &RESOURCE_NAME)];

/// The input of `GetDeployment`.
pub(crate) static GET_DEPLOYMENT: &[Member] = &[
    optional("componentName", &RESOURCE_NAME),
    optional("environmentName", &RESOURCE_NAME),
    required("id", &DEPLOYMENT_ID),
    optional("serviceInstanceName", &RESOURCE_NAME),
    optional("serviceName", &RESOURCE_NAME),
];

/// The input of `ListTagsForResource`.
pub(crate) static LIST_TAGS_FOR_RESOURCE: &[Member] = &[
    optional("maxResults", &MAX_PAGE_RESULTS),
    optional("nextToken", &ANY_TEXT),
    required("resourceArn", &ARN),
];

static EVENT_RESOURCE: Shape = text(0, 2048);
static EVENT_RESOURCES: Shape = list(0, ANY, &EVENT_RESOURCE);
static EVENT_BUS: Shape = matching(1, 1600, &EVENT_BUS_PATTERN);
static TRACE_HEADER: Shape = text(1, 500);
static ENTRY: Shape = Shape::Structure(&[
    optional("Time", &Shape::Timestamp),
    optional("Source", &ANY_TEXT),
    optional("Resources", &EVENT_RESOURCES),
    optional("DetailType", &ANY_TEXT),
    optional("Detail", &ANY_TEXT),
    optional("EventBusName", &EVENT_BUS),
    optional("TraceHeader", &TRACE_HEADER),
]);
static ENTRIES: Shape = list(1, 10, &ENTRY);
static ENDPOINT_ID: Shape = matching(1, 50, &ENDPOINT_ID_PATTERN);

/// The input of `PutEvents`.
pub(crate) static PUT_EVENTS: &[Member] = &[
    required("Entries", &ENTRIES),
    optional("EndpointId", &ENDPOINT_ID),
];

static STACK_NAME_OR_ID_PATTERN: Pattern =
    pattern!(r"([a-zA-Z][-a-zA-Z0-9]*)|(arn:\b(aws|aws-us-gov|aws-cn)\b:[-a-zA-Z0-9:/._+]*)");
static STACK_NAME_PATTERN: Pattern = pattern!(r"[a-zA-Z][-a-zA-Z0-9]*");
static CLIENT_REQUEST_TOKEN_PATTERN: Pattern = pattern!(r"[a-zA-Z0-9][-a-zA-Z0-9]*");

/// A stack's name, as `CreateStack` takes it.
pub(crate) static STACK_NAME: Shape = matching(1, 128, &STACK_NAME_PATTERN);
pub(crate) static STACK_TAG_VALUE: Shape = text(1, 256);
pub(crate) static CLIENT_REQUEST_TOKEN: Shape = matching(1, 128, &CLIENT_REQUEST_TOKEN_PATTERN);
/// A stack's name or ID. The model has no pattern; the service refuses a text that cannot be one.
static STACK_NAME_OR_ID: Shape = matching(1, ANY, &STACK_NAME_OR_ID_PATTERN);
static STACKS_NEXT_TOKEN: Shape = text(1, 1024);
static STACK_STATUS_FILTER: Shape = list(0, ANY, &ANY_TEXT);

/// The input of `ListStacks`.
pub(crate) static LIST_STACKS: &[Member] = &[
    optional("NextToken", &STACKS_NEXT_TOKEN),
    optional("StackStatusFilter", &STACK_STATUS_FILTER),
];

/// The input of `DescribeStacks`.
pub(crate) static DESCRIBE_STACKS: &[Member] = &[
    optional("StackName", &STACK_NAME_OR_ID),
    optional("NextToken", &STACKS_NEXT_TOKEN),
];

/// The input of `CancelUpdateStack`.
pub(crate) static CANCEL_UPDATE_STACK: &[Member] = &[
    required("StackName", &STACK_NAME_OR_ID),
    optional("ClientRequestToken", &CLIENT_REQUEST_TOKEN),
];

/// The input of `DescribeStackEvents`.
pub(crate) static DESCRIBE_STACK_EVENTS: &[Member] = &[
    required("StackName", &STACK_NAME_OR_ID),
    optional("NextToken", &STACKS_NEXT_TOKEN),
];

const fn text(min: usize, max: usize) -> Shape {
    Shape::Text {
        min,
        max,
        pattern: None,
    }
}

const fn matching(min: usize, max: usize, pattern: &'static Pattern) -> Shape {
    let pattern = Some(pattern);
    Shape::Text { min, max, pattern }
}

const fn list(min: usize, max: usize, of: &'static Shape) -> Shape {
    Shape::List { of, min, max }
}

const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member {
        name,
        shape,
        is_required: true,
    }
}

const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member {
        name,
        shape,
        is_required: false,
    }
}
