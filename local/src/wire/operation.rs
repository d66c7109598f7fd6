//! The services and their operations.

use std::fmt;
use std::str::FromStr;

/// A service of the local AWS that clients call with the AWS SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// AWS Proton, `awsJson1_0`.
    Proton,
    /// Amazon EventBridge, `awsJson1_1`.
    EventBridge,
    /// AWS CloudFormation, `awsQuery`.
    CloudFormation,
}

impl Service {
    const ALL: [Self; 3] = [Self::Proton, Self::EventBridge, Self::CloudFormation];

    /// Returns the first half of `X-Amz-Target`. `None` for awsQuery, which has operations in the body.
    fn target_prefix(self) -> Option<&'static str> {
        match self {
            Self::Proton => Some("AwsProton20200720"),
            Self::EventBridge => Some("AWSEvents"),
            Self::CloudFormation => None,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Proton => "application/x-amz-json-1.0",
            Self::EventBridge => "application/x-amz-json-1.1",
            Self::CloudFormation => "text/xml",
        }
    }

    /// Returns the service that a target such as `AWSEvents.PutEvents` names, and the rest.
    pub(crate) fn of_target(target: &str) -> Option<(Self, &str)> {
        let (prefix, operation) = target.split_once('.')?;
        let service = Self::ALL
            .into_iter()
            .find(|service| service.target_prefix() == Some(prefix))?;
        Some((service, operation))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Proton => "proton",
            Self::EventBridge => "events",
            Self::CloudFormation => "cloudformation",
        })
    }
}

/// An operation that the local AWS carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Proton's `ListEnvironments`.
    ListEnvironments,
    /// Proton's `GetEnvironment`.
    GetEnvironment,
    /// Proton's `CancelEnvironmentDeployment`.
    CancelEnvironmentDeployment,
    /// Proton's `GetDeployment`.
    GetDeployment,
    /// Proton's `ListTagsForResource`.
    ListTagsForResource,
    /// EventBridge's `PutEvents`.
    PutEvents,
    /// CloudFormation's `ListStacks`.
    ListStacks,
    /// CloudFormation's `DescribeStacks`.
    DescribeStacks,
    /// CloudFormation's `CancelUpdateStack`.
    CancelUpdateStack,
    /// CloudFormation's `DescribeStackEvents`.
    DescribeStackEvents,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::ListEnvironments,
        Self::GetEnvironment,
        Self::CancelEnvironmentDeployment,
        Self::GetDeployment,
        Self::ListTagsForResource,
        Self::PutEvents,
        Self::ListStacks,
        Self::DescribeStacks,
        Self::CancelUpdateStack,
        Self::DescribeStackEvents,
    ];

    /// Returns the service that offers the operation.
    #[must_use]
    pub fn service(self) -> Service {
        self.details().service
    }

    /// Returns the name, as the service model writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.details().name
    }

    /// Returns the member of a request that names an environment or a stack.
    pub(crate) fn environment_member(self) -> Option<&'static str> {
        self.details().environment_member
    }

    /// Returns CloudFormation's operation for one of Proton's.
    pub(crate) fn of_stack(self) -> Self {
        self.details().of_stack
    }

    fn details(self) -> Details {
        let proton = |name, environment_member, of_stack| Details {
            name,
            service: Service::Proton,
            environment_member,
            of_stack,
        };
        let cloudformation = |name, environment_member| Details {
            name,
            service: Service::CloudFormation,
            environment_member,
            of_stack: self,
        };
        match self {
            Self::ListEnvironments => proton("ListEnvironments", None, Self::ListStacks),
            Self::GetEnvironment => proton("GetEnvironment", Some("name"), Self::DescribeStacks),
            Self::CancelEnvironmentDeployment => proton(
                "CancelEnvironmentDeployment",
                Some("environmentName"),
                Self::CancelUpdateStack,
            ),
            Self::GetDeployment => proton(
                "GetDeployment",
                Some("environmentName"),
                Self::DescribeStackEvents,
            ),
            Self::ListTagsForResource => proton(
                "ListTagsForResource",
                Some("resourceArn"),
                Self::DescribeStacks,
            ),
            Self::PutEvents => Details {
                name: "PutEvents",
                service: Service::EventBridge,
                environment_member: None,
                of_stack: self,
            },
            Self::ListStacks => cloudformation("ListStacks", None),
            Self::DescribeStacks => cloudformation("DescribeStacks", Some("StackName")),
            Self::CancelUpdateStack => cloudformation("CancelUpdateStack", Some("StackName")),
            Self::DescribeStackEvents => cloudformation("DescribeStackEvents", Some("StackName")),
        }
    }
}

/// The properties of an operation that other modules need.
struct Details {
    name: &'static str,
    service: Service,
    environment_member: Option<&'static str>,
    of_stack: Operation,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join("`, `");
                format!("operation `{text}` is not offered: write one of `{names}`")
            })
    }
}
