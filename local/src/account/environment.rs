//! An environment of the world, which is a root stack; or a stack that Proton does not show.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::account::deployment::{Deployment, Ending, Moment};
use crate::account::script::{Effect, ScriptedEvent, Timing};
use crate::setters::setters;
use crate::wire::operation::Service;

const DAY: Duration = Duration::from_hours(24);

/// An environment of the world, with its script.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    pub(crate) name: String,
    /// The service that shows the environment.
    pub(crate) service: Service,
    pub(crate) template_name: String,
    pub(crate) template_version: (String, String),
    pub(crate) description: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) created: Moment,
    pub(crate) last_success: Option<Moment>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) are_operations_sent: bool,
    pub(crate) is_last_updated_sent: bool,
    pub(crate) rollback_moves_last_updated: bool,
    /// The latest deployment; a nested stack without one follows its parent.
    pub(crate) deployment: Option<Deployment>,
    pub(crate) events: Vec<ScriptedEvent>,
}

impl Environment {
    /// Creates an environment of Proton whose last deployment succeeded a month ago.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            service: Service::Proton,
            template_name: "network".to_owned(),
            template_version: ("1".to_owned(), "0".to_owned()),
            description: None,
            account_id: None,
            parent: None,
            created: Moment::Ago(90 * DAY),
            last_success: Some(Moment::Ago(30 * DAY)),
            tags: BTreeMap::new(),
            are_operations_sent: true,
            is_last_updated_sent: true,
            rollback_moves_last_updated: true,
            deployment: None,
            events: Vec::new(),
        }
    }

    /// Creates a root stack of CloudFormation whose last update succeeded a month ago.
    #[must_use]
    pub fn stack(name: impl Into<String>) -> Self {
        Self {
            service: Service::CloudFormation,
            last_success: Some(Moment::Ago(60 * DAY)),
            ..Self::new(name)
        }
    }

    /// Returns the same environment as the root stack that it is. If Proton does not send the
    /// latest deployment's ID or start, CloudFormation does not send `LastOperations` or
    /// `LastUpdatedTime`.
    #[must_use]
    pub fn as_stack(&self) -> Self {
        let latest = self.latest();
        Self {
            description: self.description.clone(),
            created: self.created,
            last_success: self.last_success,
            // CloudFormation has no tags without a value.
            tags: self
                .tags
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            are_operations_sent: latest.is_id_sent,
            is_last_updated_sent: latest.is_start_sent,
            deployment: Some(latest.of_stack()),
            events: self.events.iter().map(ScriptedEvent::of_stack).collect(),
            ..Self::stack(&self.name)
        }
    }

    /// Adds a scripted event.
    #[must_use]
    pub fn then(mut self, timing: Timing, effect: Effect) -> Self {
        self.events.push(ScriptedEvent { timing, effect });
        self
    }

    /// Sets the template's name and its major and minor version.
    #[must_use]
    pub fn template(
        mut self,
        name: impl Into<String>,
        major: impl Into<String>,
        minor: impl Into<String>,
    ) -> Self {
        self.template_name = name.into();
        self.template_version = (major.into(), minor.into());
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Keeps `LastUpdatedTime` when a rollback begins. AWS does not document the rule; by default
    /// a rollback moves it.
    #[must_use]
    pub fn last_updated_stands_still(mut self) -> Self {
        self.rollback_moves_last_updated = false;
        self
    }

    setters! {
        /// Sets the latest deployment.
        deployment(deployment: Deployment) => deployment = Some(deployment);
        /// Nests the stack in the stack of that name. A stack without a deployment of its own
        /// follows its parent.
        nested_in(parent: impl Into<String>) => parent = Some(parent.into());
        /// Sets the account that the environment's infrastructure is provisioned in.
        account_id(account_id: impl Into<String>) => account_id = Some(account_id.into());
        /// Sets the description.
        description(description: impl Into<String>) => description = Some(description.into());
        /// Removes the success before the latest deployment.
        never_succeeded() => last_success = None;
        /// Leaves `LastOperations` and the `OperationId` of events out of CloudFormation's responses.
        operations_not_sent() => are_operations_sent = false;
        /// Leaves `LastUpdatedTime` out of CloudFormation's responses.
        last_updated_not_sent() => is_last_updated_sent = false;
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the latest deployment, with the default in place.
    pub(crate) fn latest(&self) -> Deployment {
        let default = || Deployment::settled(Ending::succeeded());
        self.deployment.clone().unwrap_or_else(default)
    }

    /// True if the stack takes every status from its parent.
    pub(crate) fn follows_parent(&self) -> bool {
        self.parent.is_some() && self.deployment.is_none()
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::operation::Operation;

    use super::*;

    #[test]
    fn an_environment_is_a_stack_of_its_name() {
        let ten = Duration::from_secs(10);
        let deployment = Deployment::in_progress()
            .id("1")
            .when_cancelled(Ending::failed("no").rollback(ten));
        let environment = Environment::new("prod-net")
            .tag("owner", "network")
            .tag("empty", "")
            .deployment(deployment)
            .then(Timing::after_listed(), Effect::Cancel);
        let ending = Ending::failed("no").rollback(ten).cleanup(Duration::ZERO);
        let expected = Environment::stack("prod-net")
            .tag("owner", "network")
            .deployment(Deployment::in_progress().id("1").when_cancelled(ending))
            .then(Timing::AfterCall(Operation::ListStacks, 1), Effect::Cancel);
        let expected = Environment {
            last_success: environment.last_success,
            ..expected
        };
        assert_eq!(environment.as_stack(), expected);
    }
}
