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

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use crate::account::deployment::Deployment;
use crate::account::environment::Environment;
use crate::account::live::{LiveEnvironment, Phase};
use crate::account::live_deployment::LiveDeployment;
use crate::account::snapshot::{DeploymentSnapshot, EnvironmentSnapshot};
use crate::account::stack_record::{Resource, StackRecord};
use crate::account::status::{Kind, ServiceStatus};
use crate::identity::Identities;
use crate::wire::operation::{Operation, Service};

/// The region and the ID of an account, as its ARNs have them.
#[derive(Clone, Debug, PartialEq)]
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
    /// First Proton's, then CloudFormation's. Replacements follow in order of time.
    environments: Vec<LiveEnvironment>,
    /// The places of what each service shows: the first ones by name, then replacements.
    shown: HashMap<Service, Vec<usize>>,
    /// The number of environments with which the world started.
    first: usize,
    /// The newest environment of each name, by the service that shows it; stacks by their IDs, too.
    places: HashMap<(Service, String), usize>,
    /// The times at which the environments at these places may have something due.
    due: BTreeSet<(SystemTime, usize)>,
    /// The environments with scripted events that wait for a call.
    waiting: BTreeSet<usize>,
    /// The nested stacks that take their status from a parent.
    followers: Vec<usize>,
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
        let mut account = Self {
            arns,
            environments: Vec::new(),
            shown: HashMap::new(),
            first: environments.len(),
            places: HashMap::new(),
            due: BTreeSet::new(),
            waiting: BTreeSet::new(),
            followers: Vec::new(),
        };
        let (mut stacks, of_proton): (Vec<_>, Vec<_>) = environments
            .iter()
            .partition(|environment| environment.service == Service::CloudFormation);
        // Proton's environments get their IDs in the order of the world, stacks by name.
        let mut of_proton: Vec<_> = of_proton
            .into_iter()
            .map(|script| LiveEnvironment::new(script, &script.latest(), None, start, identities))
            .collect();
        of_proton.sort_by(|one, other| one.script.name.cmp(&other.script.name));
        for environment in of_proton {
            account.add(environment);
        }
        stacks.sort_by(|one, other| one.name.cmp(&other.name));
        let scripts: HashMap<&str, &Environment> =
            stacks.iter().map(|stack| (stack.name(), *stack)).collect();
        for script in stacks {
            let record = StackRecord::new(account.arns.stack(&script.name, identities));
            let latest = first_deployment(script, &scripts);
            let stack = LiveEnvironment::new(script, &latest, Some(record), start, identities);
            account.add(stack);
        }
        account.nest();
        account
    }

    /// Adds an environment. Returns its place.
    fn add(&mut self, environment: LiveEnvironment) -> usize {
        let place = self.environments.len();
        let service = environment.script.service;
        self.shown.entry(service).or_default().push(place);
        let id = environment.record.as_ref().map(|record| record.id.clone());
        for key in std::iter::once(environment.script.name.clone()).chain(id) {
            self.places.insert((service, key), place);
        }
        self.environments.push(environment);
        self.reschedule(place);
        place
    }

    /// Notes what the environment at a place waits for.
    fn reschedule(&mut self, place: usize) {
        let Some(environment) = self.environments.get(place) else {
            return;
        };
        if let Some(at) = environment.due_at() {
            self.due.insert((at, place));
        }
        if environment.waits_for_call() {
            self.waiting.insert(place);
        } else {
            self.waiting.remove(&place);
        }
    }

    /// Places each nested stack below its parent, whose resource it is.
    fn nest(&mut self) {
        for place in self.shown_by(Service::CloudFormation).to_vec() {
            let Some(stack) = self.environments.get_mut(place) else {
                continue;
            };
            let parent = stack.script.parent.clone();
            let parent = parent.and_then(|name| self.places.get(&(Service::CloudFormation, name)));
            let (Some(parent), Some(record)) = (parent.copied(), &stack.record) else {
                continue;
            };
            let physical_id = record.id.clone();
            stack.parent = Some(parent);
            if stack.script.follows_parent() {
                self.followers.push(place);
            }
            if let Some(parent) = self.environments.get_mut(parent)
                && let Some(record) = &mut parent.record
            {
                record.resource = Resource {
                    logical_id: "Nested",
                    kind: "AWS::CloudFormation::Stack",
                    physical_id,
                };
            }
        }
    }

    /// Carries out everything that is due.
    pub(crate) fn advance(&mut self, now: SystemTime, identities: &mut Identities) {
        let mut due = BTreeSet::new();
        while let Some((at, place)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            due.insert(place);
        }
        for place in due {
            self.advance_one(place, now, identities);
        }
        for place in self.followers.clone() {
            let followed = self
                .parent(place)
                .map(|parent| (parent.latest.status, parent.latest.changed));
            if let Some(followed) = followed
                && let Some(stack) = self.environments.get_mut(place)
            {
                stack.follow(followed, identities);
                self.reschedule(place);
            }
        }
    }

    fn advance_one(&mut self, place: usize, now: SystemTime, identities: &mut Identities) {
        let Self {
            environments, arns, ..
        } = self;
        let name_id = |name: &str, identities: &mut Identities| arns.stack(name, identities);
        let replacement = environments
            .get_mut(place)
            .and_then(|environment| environment.advance(now, identities, &name_id));
        self.reschedule(place);
        if let Some(next) = replacement {
            let place = self.add(next);
            self.advance_one(place, now, identities);
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
        for place in self.waiting.clone() {
            let Some(environment) = self.environments.get_mut(place) else {
                continue;
            };
            let script = &environment.script;
            let is_concerned = script.service == operation.service()
                && names.is_none_or(|names| names.contains(&script.name));
            if is_concerned {
                environment.count_call(call, now);
                self.reschedule(place);
            }
        }
        self.advance(now, identities);
    }

    /// Returns the places of what a service shows.
    fn shown_by(&self, service: Service) -> &[usize] {
        self.shown.get(&service).map_or(&[], Vec::as_slice)
    }

    /// Returns the environments at these places, each with its place.
    fn at<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = (usize, &'a LiveEnvironment)> {
        places
            .iter()
            .filter_map(|place| Some((*place, self.get(*place)?)))
    }

    /// Returns the environments of Proton that exist, by name: those after a name, or all.
    pub(crate) fn of_proton(&self, after: Option<&str>) -> impl Iterator<Item = &LiveEnvironment> {
        let is_passed = move |environment: &LiveEnvironment| {
            after.is_some_and(|after| *environment.script.name <= *after)
        };
        // Only the first ones are sorted.
        let shown = self.shown_by(Service::Proton);
        let passed = shown.partition_point(|place| {
            *place < self.first && self.get(*place).is_some_and(is_passed)
        });
        self.at(shown.get(passed..).unwrap_or_default())
            .map(|(_, environment)| environment)
            .filter(move |environment| environment.deleted.is_none() && !is_passed(environment))
    }

    /// Returns the place of the environment of Proton of this name, and the environment.
    pub(crate) fn find_environment(&self, name: &str) -> Option<(usize, &LiveEnvironment)> {
        let place = *self.places.get(&(Service::Proton, name.to_owned()))?;
        let found = self.get(place)?;
        found.deleted.is_none().then_some((place, found))
    }

    /// Returns the number of stacks that exist or existed.
    pub(crate) fn stack_count(&self) -> usize {
        self.shown_by(Service::CloudFormation).len()
    }

    /// Returns the stacks that exist or existed, each with its record, without the first ones.
    pub(crate) fn stacks(
        &self,
        first: usize,
    ) -> impl Iterator<Item = (usize, &LiveEnvironment, &StackRecord)> {
        let shown = self.shown_by(Service::CloudFormation);
        self.at(shown.get(first..).unwrap_or_default())
            .filter_map(|(place, stack)| Some((place, stack, stack.record.as_ref()?)))
    }

    /// Returns the place of the stack of this ID, deleted or not, or of the one of this name that
    /// exists, with the stack and its record.
    pub(crate) fn find_stack(
        &self,
        name_or_id: &str,
    ) -> Option<(usize, &LiveEnvironment, &StackRecord)> {
        let key = (Service::CloudFormation, name_or_id.to_owned());
        let place = *self.places.get(&key)?;
        let stack = self.get(place)?;
        let record = stack.record.as_ref()?;
        let is_found = record.id == name_or_id || stack.deleted.is_none();
        is_found.then_some((place, stack, record))
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
            let Some(parent) = above else { break };
            root = above;
            above = parent_of(parent);
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
        let is_cancelled =
            environment.is_some_and(|environment| environment.cancel(token, now, identities));
        self.reschedule(index);
        is_cancelled
    }

    /// Returns the present state of the environments that a service shows and that exist, by name.
    pub(crate) fn environments<S: ServiceStatus>(&self) -> Vec<EnvironmentSnapshot<S>> {
        let snapshot = |(place, environment): (usize, &LiveEnvironment)| {
            let parent = self.parent(place).map(|parent| self.arn(parent));
            EnvironmentSnapshot::new(environment, self.arn(environment), parent)
        };
        let shown = self.at(self.shown_by(S::SERVICE));
        let mut snapshots: Vec<_> = shown
            .filter(|(_, environment)| environment.deleted.is_none())
            .map(snapshot)
            .collect();
        snapshots.sort_by(|one, other| one.name.cmp(&other.name));
        snapshots
    }

    /// Returns the present state of every deployment that a service shows; of a stack, its updates.
    pub(crate) fn deployments<S: ServiceStatus>(&self) -> Vec<DeploymentSnapshot<S>> {
        let is_shown =
            |one: &LiveDeployment| S::SERVICE == Service::Proton || one.kind == Kind::Update;
        let shown = self.at(self.shown_by(S::SERVICE));
        let deployments = shown.flat_map(|(_, environment)| {
            let deployments = environment.deployments();
            deployments.map(move |one| (environment, one))
        });
        deployments
            .filter(|(_, one)| is_shown(one))
            .map(|(environment, one)| {
                let name = environment.script.name.clone();
                DeploymentSnapshot::new(name, self.arn(environment), one)
            })
            .collect()
    }

    /// Returns the ARN of an environment; a stack's is its ID.
    fn arn(&self, environment: &LiveEnvironment) -> String {
        match &environment.record {
            Some(record) => record.id.clone(),
            None => self.arns.environment(&environment.script.name),
        }
    }
}

/// Returns the deployment with which a stack starts: its own, or that of the stack that it follows.
fn first_deployment(script: &Environment, scripts: &HashMap<&str, &Environment>) -> Deployment {
    let mut followed = script;
    // As many steps as there are stacks: a circle of parents has an end, too.
    for _ in scripts {
        let parent = followed.parent.as_deref();
        let parent = parent.filter(|_| followed.follows_parent());
        let Some(parent) = parent.and_then(|name| scripts.get(name)) else {
            break;
        };
        followed = parent;
    }
    let latest = followed.latest();
    Deployment {
        id: latest.id.clone().filter(|_| !script.follows_parent()),
        ..latest
    }
}
