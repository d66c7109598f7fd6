//! One and the same account for either engine: Proton's environments as the stacks that they are.

use std::time::Duration;

use crate::account::stack::{Stack, StackHappening, StackWhat, Update, UpdateEnding};
use crate::account::status::StackStatus;
use crate::faults::{Fault, Faults, Rule, Throttle};
use crate::wire::operation::Operation;
use crate::world::{
    Cancellation, Deployment, Ending, Environment, Happening, Status, What, When, World,
};

impl World {
    /// The same account as CloudFormation sees it: each environment is a root stack of its name,
    /// each deployment an update of it, and what concerns Proton's operations concerns
    /// CloudFormation's; errors get CloudFormation's codes.
    ///
    /// A cancelled deployment that ends well has no equal: there, the update finishes right before
    /// a cancel arrives, which is then refused. A deployment whose id is not sent belongs to a
    /// stack whose operations are not sent, one whose start is not sent to a stack without
    /// `LastUpdatedTime`.
    #[must_use]
    pub fn as_stacks(mut self) -> Self {
        let environments = std::mem::take(&mut self.environments);
        for environment in &environments {
            self = self.with_stack(Stack::from(environment));
        }
        self.faults = faults(&self.faults);
        self
    }
}

impl From<&Environment> for Stack {
    fn from(environment: &Environment) -> Self {
        let deployment = &environment.deployment;
        Self {
            description: environment.description.clone(),
            created: environment.created,
            last_success: environment.last_success,
            // CloudFormation has no tags without a value.
            tags: environment
                .tags
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            are_operations_sent: deployment.is_id_sent,
            is_last_updated_sent: deployment.is_start_sent,
            update: Some(update(deployment)),
            happenings: environment.happenings.iter().map(happening).collect(),
            ..Self::new(environment.name.clone())
        }
    }
}

fn update(deployment: &Deployment) -> Update {
    let Cancellation { lasts, ending } = &deployment.when_cancelled;
    let message = deployment.message.clone();
    Update {
        id: deployment.id.clone(),
        reason: message.filter(|_| deployment.status.is_settled()),
        started: deployment.started,
        when_cancelled: cancelled(*lasts, ending),
        left_alone: deployment
            .left_alone
            .as_ref()
            .map(|(after, ending)| (*after, by_itself(ending))),
        ..Update::of_status(status(deployment.status))
    }
}

fn status(status: Status) -> StackStatus {
    match status {
        Status::InProgress => StackStatus::UpdateInProgress,
        Status::Failed => StackStatus::UpdateRollbackFailed,
        Status::Succeeded => StackStatus::UpdateComplete,
        Status::DeleteInProgress => StackStatus::DeleteInProgress,
        Status::DeleteFailed => StackStatus::DeleteFailed,
        Status::DeleteComplete => StackStatus::DeleteComplete,
        Status::Cancelling => StackStatus::UpdateRollbackInProgress,
        Status::Cancelled => StackStatus::UpdateRollbackComplete,
    }
}

/// The end after a cancel: as late as Proton's, the cleanup included.
fn cancelled(lasts: Duration, ending: &Ending) -> UpdateEnding {
    let cleanup = match ending.status {
        Status::Failed => Duration::ZERO,
        Status::InProgress
        | Status::Succeeded
        | Status::DeleteInProgress
        | Status::DeleteFailed
        | Status::DeleteComplete
        | Status::Cancelling
        | Status::Cancelled => (lasts / 5).min(Duration::from_secs(1)),
    };
    let reason = ending.message.clone();
    UpdateEnding {
        // The status reason of what was rolled back tells nothing.
        reason: reason.filter(|_| ending.status == Status::Failed),
        rollback: lasts.saturating_sub(cleanup),
        cleanup,
        ..UpdateEnding::new(status(ending.status))
    }
}

/// The end of an update that nobody cancelled.
fn by_itself(ending: &Ending) -> UpdateEnding {
    UpdateEnding {
        reason: ending.message.clone(),
        rollback: Duration::ZERO,
        cleanup: Duration::ZERO,
        ..UpdateEnding::new(status(ending.status))
    }
}

fn happening(happening: &Happening) -> StackHappening {
    let when = match &happening.when {
        When::At(later) => When::At(*later),
        When::AfterEnd(later) => When::AfterEnd(*later),
        When::BeforeCall(call, nth) => When::BeforeCall(operation(*call), *nth),
        When::AfterCall(call, nth) => When::AfterCall(operation(*call), *nth),
    };
    let what = match &happening.what {
        What::Deploy(deployment) => StackWhat::Update(update(deployment)),
        What::End(ending) => StackWhat::End(by_itself(ending)),
        What::Cancel => StackWhat::Cancel,
        What::Delete => StackWhat::Delete,
    };
    StackHappening { when, what }
}

fn operation(operation: Operation) -> Operation {
    match operation {
        Operation::ListEnvironments => Operation::ListStacks,
        Operation::GetEnvironment | Operation::ListTagsForResource => Operation::DescribeStacks,
        Operation::CancelEnvironmentDeployment => Operation::CancelUpdateStack,
        Operation::GetDeployment => Operation::DescribeStackEvents,
        Operation::PutEvents
        | Operation::ListStacks
        | Operation::DescribeStacks
        | Operation::CancelUpdateStack
        | Operation::DescribeStackEvents => operation,
    }
}

fn faults(faults: &Faults) -> Faults {
    Faults {
        throttles: faults
            .throttles
            .iter()
            .map(|throttle| Throttle {
                operation: throttle.operation.map(operation),
                ..throttle.clone()
            })
            .collect(),
        rules: faults.rules.iter().cloned().map(rule).collect(),
        ..faults.clone()
    }
}

fn rule(mut rule: Rule) -> Rule {
    if rule.operation == Some(Operation::PutEvents) {
        return rule;
    }
    rule.operation = rule.operation.map(operation);
    if let Fault::Error { code, .. } = &mut rule.fault {
        let codes = [
            ("ThrottlingException", "Throttling"),
            ("AccessDeniedException", "AccessDenied"),
            ("ResourceNotFoundException", "ValidationError"),
            ("ConflictException", "ValidationError"),
            ("ValidationException", "ValidationError"),
            ("InternalServerException", "InternalFailure"),
        ];
        let known = codes.iter().find(|(protons, _)| protons == code);
        if let Some((_, cloudformations)) = known {
            *code = (*cloudformations).to_owned();
        }
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_a_stack_of_its_name() {
        let deployment = Deployment::in_progress()
            .id("1")
            .when_cancelled(Cancellation::after(
                Duration::from_secs(10),
                Ending::failed("no"),
            ));
        let environment = Environment::new("prod-net")
            .tag("owner", "network")
            .tag("empty", "")
            .deployment(deployment)
            .then(When::after_listed(), What::Cancel);
        let expected = Stack::new("prod-net")
            .tag("owner", "network")
            .update(
                Update::in_progress().id("1").when_cancelled(
                    UpdateEnding::rollback_failed("no")
                        .rollback(Duration::from_secs(10))
                        .cleanup(Duration::ZERO),
                ),
            )
            .then(When::AfterCall(Operation::ListStacks, 1), StackWhat::Cancel);
        let expected = Stack {
            last_success: environment.last_success,
            ..expected
        };
        assert_eq!(Stack::from(&environment), expected);
    }

    #[test]
    fn faults_concern_the_other_service() {
        let denied = Fault::error("AccessDeniedException", "no");
        let world = World::new().faults(
            Faults::none()
                .rule(Rule::new(denied.clone()).operation(Operation::GetEnvironment))
                .rule(Rule::new(denied.clone()).operation(Operation::PutEvents)),
        );
        let expected = Faults::none()
            .rule(
                Rule::new(Fault::error("AccessDenied", "no")).operation(Operation::DescribeStacks),
            )
            .rule(Rule::new(denied).operation(Operation::PutEvents));
        assert_eq!(world.as_stacks().faults, expected);
    }
}
