//! The services and their operations.

use std::fmt;

use serde::Deserialize;

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

/// Defines the operations: each with its service, the member of a request that names an environment
/// or a stack, and the operation of CloudFormation that does the same for a stack.
macro_rules! operations {
    ($($operation:ident: $service:ident, $member:expr, $of_stack:ident;)*) => {
        /// An operation that the local AWS carries out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub enum Operation {
            $(#[doc = concat!("`", stringify!($operation), "`.")] $operation,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: [Self; [$(Self::$operation),*].len()] = [$(Self::$operation),*];

            /// Returns the service that offers the operation.
            #[must_use]
            pub fn service(self) -> Service {
                match self {
                    $(Self::$operation => Service::$service,)*
                }
            }

            /// Returns the name, as the service model writes it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$operation => stringify!($operation),)*
                }
            }

            /// Returns the member of a request that names an environment or a stack.
            pub(crate) fn environment_member(self) -> Option<&'static str> {
                match self {
                    $(Self::$operation => $member,)*
                }
            }

            /// Returns CloudFormation's operation for one of Proton's.
            pub(crate) fn of_stack(self) -> Self {
                match self {
                    $(Self::$operation => Self::$of_stack,)*
                }
            }
        }
    };
}

operations! {
    ListEnvironments: Proton, None, ListStacks;
    GetEnvironment: Proton, Some("name"), DescribeStacks;
    CancelEnvironmentDeployment: Proton, Some("environmentName"), CancelUpdateStack;
    GetDeployment: Proton, Some("environmentName"), DescribeStackEvents;
    ListTagsForResource: Proton, Some("resourceArn"), DescribeStacks;
    PutEvents: EventBridge, None, PutEvents;
    ListStacks: CloudFormation, None, ListStacks;
    DescribeStacks: CloudFormation, Some("StackName"), DescribeStacks;
    CancelUpdateStack: CloudFormation, Some("StackName"), CancelUpdateStack;
    DescribeStackEvents: CloudFormation, Some("StackName"), DescribeStackEvents;
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl TryFrom<String> for Operation {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let mut all = Self::ALL.into_iter();
        all.find(|operation| operation.as_str() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join("`, `");
                format!("operation `{name}` is not offered: write one of `{names}`")
            })
    }
}
