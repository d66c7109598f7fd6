//! The account: every environment is a root stack, and every deployment an update of it. Proton and
//! CloudFormation are two APIs on the account.
//!
//! An environment of a world is shown by one of the two services; [`Environment::as_stack`] makes
//! one that CloudFormation shows of one that Proton shows.

pub(crate) mod deployment;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod live;
pub(crate) mod live_deployment;
pub(crate) mod script;
pub(crate) mod snapshot;
pub(crate) mod stack_record;
pub(crate) mod status;

use std::time::SystemTime;

use crate::account::deployment::Deployment;
use crate::account::environment::Environment;
use crate::account::live::{LiveEnvironment, Phase};
use crate::account::snapshot::{
    DeploymentSnapshot, EnvironmentSnapshot, StackSnapshot, UpdateSnapshot,
};
use crate::account::stack_record::{Resource, StackRecord};
use crate::account::status::Kind;
use crate::identity::Identities;
use crate::wire::operation::{Operation, Service};

/// The region and the ID of an account, as its ARNs have them.
#[derive(Clone, Debug)]
pub(crate) struct Arns {
    pub(crate) region: String,
    pub(crate) account: String,
}

impl Arns {
    /// Returns an environment's ARN.
    pub(crate) fn environment(&self, name: &str) -> String {
        let Self { region, account } = self;
        format!("arn:aws:proton:{region}:{account}:environment/{name}")
    }

    /// Returns a deployment's ARN.
    pub(crate) fn deployment(&self, id: &str) -> String {
        let Self { region, account } = self;
        format!("arn:aws:proton:{region}:{account}:deployment/{id}")
    }

    /// Returns the ARN of a new stack.
    fn stack(&self, name: &str, identities: &mut Identities) -> String {
        let Self { region, account } = self;
        let id = identities.uuid();
        format!("arn:aws:cloudformation:{region}:{account}:stack/{name}/{id}")
    }
}

/// The environments of the account, with their deployments.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) arns: Arns,
    /// Sorted by name: first Proton's, then CloudFormation's. Replacements follow in order of time.
    environments: Vec<LiveEnvironment>,
}

/// The context of a call: the account, and the environments that the call concerned.
pub(crate) struct Context<'a> {
    pub(crate) account: &'a mut Account,
    pub(crate) identities: &'a mut Identities,
    pub(crate) now: SystemTime,
    /// The environments that the call concerned.
    pub(crate) environments: Vec<String>,
    /// The deployment that the call cancelled.
    pub(crate) cancelled: Option<String>,
}

impl Account {
    pub(crate) fn new(
        environments: &[Environment],
        arns: Arns,
        start: SystemTime,
        identities: &mut Identities,
    ) -> Self {
        let shown_by = |service| move |environment: &&Environment| environment.service == service;
        let mut live: Vec<_> = environments
            .iter()
            .filter(shown_by(Service::Proton))
            .map(|script| LiveEnvironment::new(script, &script.latest(), None, start, identities))
            .collect();
        live.sort_by(|one, other| one.script.name.cmp(&other.script.name));
        let first_stack = live.len();
        let stacks = environments
            .iter()
            .filter(shown_by(Service::CloudFormation));
        let mut scripts: Vec<&Environment> = stacks.collect();
        scripts.sort_by(|one, other| one.name.cmp(&other.name));
        for script in &scripts {
            let record = StackRecord::new(arns.stack(&script.name, identities));
            let latest = first_deployment(script, &scripts);
            let mut stack = LiveEnvironment::new(script, &latest, Some(record), start, identities);
            let parent = scripts
                .iter()
                .position(|other| script.parent.as_ref() == Some(&other.name));
            stack.parent = parent.map(|parent| first_stack + parent);
            live.push(stack);
        }
        let mut account = Self {
            arns,
            environments: live,
        };
        account.show_nested();
        account
    }

    /// Makes each nested stack the resource of its parent.
    fn show_nested(&mut self) {
        for index in 0..self.environments.len() {
            let nested = self.environments.get(index).and_then(|stack| {
                let id = stack.record.as_ref()?.id.clone();
                Some((stack.parent?, id))
            });
            if let Some((parent, id)) = nested
                && let Some(parent) = self.environments.get_mut(parent)
                && let Some(record) = &mut parent.record
            {
                record.resource = Resource {
                    logical_id: "Nested",
                    kind: "AWS::CloudFormation::Stack",
                    physical_id: id,
                };
            }
        }
    }

    /// Carries out everything that is due.
    pub(crate) fn advance(&mut self, now: SystemTime, identities: &mut Identities) {
        for index in 0..self.environments.len() {
            self.advance_one(index, now, identities);
        }
        for index in 0..self.environments.len() {
            let followed = self
                .parent(index)
                .map(|parent| (parent.latest.status, parent.latest.changed));
            if let Some(followed) = followed
                && let Some(stack) = self.environments.get_mut(index)
                && stack.script.follows_parent()
            {
                stack.follow(followed, identities);
            }
        }
    }

    fn advance_one(&mut self, index: usize, now: SystemTime, identities: &mut Identities) {
        let Self { environments, arns } = self;
        let name_id = |name: &str, identities: &mut Identities| arns.stack(name, identities);
        let replacement = environments
            .get_mut(index)
            .and_then(|environment| environment.advance(now, identities, &name_id));
        if let Some(next) = replacement {
            self.environments.push(next);
            self.advance_one(self.environments.len() - 1, now, identities);
        }
    }

    /// Carries out the scripted events that wait for a call, of the environments of these names;
    /// without names, of all that the operation's service shows.
    pub(crate) fn count_call(
        &mut self,
        call: (Phase, Operation),
        names: Option<&[String]>,
        now: SystemTime,
        identities: &mut Identities,
    ) {
        let (_, operation) = call;
        for environment in &mut self.environments {
            let script = &environment.script;
            let is_concerned = script.service == operation.service()
                && names.is_none_or(|names| names.contains(&script.name));
            if is_concerned && environment.deleted.is_none() {
                environment.count_call(call, now);
            }
        }
        self.advance(now, identities);
    }

    /// Returns the environments that a service shows, deleted or not, each with its place.
    pub(crate) fn shown_by(
        &self,
        service: Service,
    ) -> impl Iterator<Item = (usize, &LiveEnvironment)> {
        let all = self.environments.iter().enumerate();
        all.filter(move |(_, environment)| environment.script.service == service)
    }

    /// Returns the environments of Proton that exist, by name.
    pub(crate) fn of_proton(&self) -> impl Iterator<Item = &LiveEnvironment> {
        self.shown_by(Service::Proton)
            .map(|(_, environment)| environment)
            .filter(|environment| environment.deleted.is_none())
    }

    /// Returns the place of the environment of Proton of this name, and the environment.
    pub(crate) fn find_environment(&self, name: &str) -> Option<(usize, &LiveEnvironment)> {
        let mut shown = self.shown_by(Service::Proton);
        shown.find(|(_, one)| one.script.name == name && one.deleted.is_none())
    }

    /// Returns the stacks that exist or existed, each with its record.
    pub(crate) fn stacks(&self) -> impl Iterator<Item = (usize, &LiveEnvironment, &StackRecord)> {
        self.shown_by(Service::CloudFormation)
            .filter_map(|(index, stack)| Some((index, stack, stack.record.as_ref()?)))
    }

    /// Returns the place of the stack of this ID, deleted or not, or of the one of this name that
    /// exists.
    pub(crate) fn find_stack(&self, name_or_id: &str) -> Option<usize> {
        let mut stacks = self.stacks();
        let found = stacks.find(|(_, stack, record)| {
            let is_of_name = stack.script.name == name_or_id && stack.deleted.is_none();
            record.id == name_or_id || is_of_name
        });
        found.map(|(index, ..)| index)
    }

    /// Returns the environment at a place.
    pub(crate) fn get(&self, index: usize) -> Option<&LiveEnvironment> {
        self.environments.get(index)
    }

    /// Returns the stack that the one at a place is nested in.
    pub(crate) fn parent(&self, index: usize) -> Option<&LiveEnvironment> {
        self.get(self.get(index)?.parent?)
    }

    /// Returns the stack that the one at a place is nested in at the outermost.
    pub(crate) fn root(&self, index: usize) -> Option<&LiveEnvironment> {
        let parent_of = |index: usize| self.get(index)?.parent;
        let mut root = None;
        let mut above = parent_of(index);
        // As many steps as there are stacks: a circle of parents has an end, too.
        for _ in &self.environments {
            root = above.or(root);
            above = above.and_then(parent_of);
        }
        self.get(root?)
    }

    /// Cancels the latest deployment of the environment at a place. Returns true if it was in
    /// progress.
    pub(crate) fn cancel(
        &mut self,
        index: usize,
        token: Option<String>,
        now: SystemTime,
        identities: &mut Identities,
    ) -> bool {
        let environment = self.environments.get_mut(index);
        environment.is_some_and(|environment| environment.cancel(token, now, identities))
    }

    /// Returns the present state of Proton's environments, by name.
    pub(crate) fn environment_snapshots(&self) -> Vec<EnvironmentSnapshot> {
        let snapshot = |environment: &LiveEnvironment| {
            let arn = self.arns.environment(&environment.script.name);
            EnvironmentSnapshot::new(environment, arn)
        };
        self.of_proton().map(snapshot).collect()
    }

    /// Returns the present state of every deployment of Proton that ever existed.
    pub(crate) fn deployment_snapshots(&self) -> Vec<DeploymentSnapshot> {
        self.shown_by(Service::Proton)
            .flat_map(|(_, environment)| {
                let deployments = environment.deployments();
                deployments.map(move |one| DeploymentSnapshot::new(environment, one))
            })
            .collect()
    }

    /// Returns the present state of every stack, by name.
    pub(crate) fn stack_snapshots(&self) -> Vec<StackSnapshot> {
        let existing = self
            .stacks()
            .filter(|(_, stack, _)| stack.deleted.is_none());
        let mut snapshots: Vec<_> = existing
            .map(|(index, stack, record)| {
                let parent = self.parent(index);
                let parent_id = parent.and_then(|parent| Some(parent.record.as_ref()?.id.as_str()));
                StackSnapshot::new(stack, &record.id, parent_id)
            })
            .collect();
        snapshots.sort_by(|one, other| one.name.cmp(&other.name));
        snapshots
    }

    /// Returns the present state of every update of a stack that ever existed.
    pub(crate) fn update_snapshots(&self) -> Vec<UpdateSnapshot> {
        self.stacks()
            .flat_map(|(_, stack, record)| {
                stack
                    .deployments()
                    .filter(|update| update.kind == Kind::Update)
                    .map(move |update| UpdateSnapshot::new(stack, &record.id, update))
            })
            .collect()
    }
}

/// Returns the deployment with which a stack starts: its own, or that of the stack that it follows.
fn first_deployment(script: &Environment, scripts: &[&Environment]) -> Deployment {
    let mut followed = script;
    // As many steps as there are stacks: a circle of parents has an end, too.
    for _ in scripts {
        let parent = scripts.iter().find(|other| {
            followed.follows_parent() && followed.parent.as_ref() == Some(&other.name)
        });
        followed = parent.copied().unwrap_or(followed);
    }
    let latest = followed.latest();
    Deployment {
        id: latest.id.clone().filter(|_| !script.follows_parent()),
        ..latest
    }
}
