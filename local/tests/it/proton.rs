//! Proton through the SDK, on paused time.

use std::time::Duration;

use aws_sdk_proton::types::DeploymentStatus;
use local_aws::{Deployment, Effect, Ending, Environment, Operation, Status, Timing, World};

use crate::support::{environment, local, proton, start};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_deployment_is_cancelling_and_then_ends_as_its_script_says() {
    let ends = [
        ("a", Ending::cancelled(), DeploymentStatus::Cancelled),
        ("b", Ending::failed("stuck"), DeploymentStatus::Failed),
        ("c", Ending::succeeded(), DeploymentStatus::Succeeded),
    ];
    let world = ends.iter().fold(World::new(), |world, (name, ending, _)| {
        let cancellation = ending.clone().rollback(seconds(10));
        world.with(environment(
            name,
            Deployment::in_progress().when_cancelled(cancellation),
        ))
    });
    let local = local(world);
    let client = proton(&local);
    for (name, ending, status) in ends {
        let cancelled = client
            .cancel_environment_deployment()
            .environment_name(name);
        let cancelled = cancelled.send().await.unwrap().environment.unwrap();
        assert_eq!(cancelled.deployment_status, DeploymentStatus::Cancelling);
        let id = cancelled.last_attempted_deployment_id.unwrap();

        tokio::time::sleep(seconds(9)).await;
        let read = client.get_environment().name(name).send().await.unwrap();
        let read = read.environment.unwrap();
        assert_eq!(read.deployment_status, DeploymentStatus::Cancelling);

        tokio::time::sleep(seconds(1)).await;
        let read = client.get_deployment().environment_name(name).id(&id);
        let read = read.send().await.unwrap().deployment.unwrap();
        assert_eq!(read.deployment_status, status);
        assert!(read.completed_at.is_some());
        let truth = local
            .deployments()
            .into_iter()
            .find(|one| one.id == id)
            .unwrap();
        assert_eq!(truth.status.as_str(), status.as_str());
        assert!(truth.cancelled_at.is_some());
        if status == DeploymentStatus::Failed {
            assert_eq!(truth.message.as_deref(), Some("stuck"));
        }
        drop(ending);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_what_is_not_in_progress_is_a_conflict() {
    let world = World::new()
        .with(Environment::new("settled"))
        .with(environment("cancelling", Deployment::cancelling()));
    let local = local(world);
    for name in ["settled", "cancelling"] {
        let cancel = proton(&local)
            .cancel_environment_deployment()
            .environment_name(name);
        let error = cancel.send().await.unwrap_err().into_service_error();
        assert!(error.is_conflict_exception(), "{error:?}");
    }
    tokio::time::sleep(seconds(5)).await;
    assert_eq!(local.environments()[0].status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn pages_cover_a_thousand_environments_once_each_in_order() {
    let world: World = "[[environment]]\nname = \"net\"\ncopies = 1050"
        .parse()
        .unwrap();
    let local = local(world);
    let mut names = Vec::new();
    let mut token = None;
    loop {
        let list = proton(&local).list_environments().max_results(100);
        let page = list.set_next_token(token).send().await.unwrap();
        names.extend(page.environments.into_iter().map(|one| one.name));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), 1050);
    assert!(names.is_sorted());
    assert_eq!(local.calls().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_token_belongs_to_its_question() {
    let local = local(World::demonstration());
    let client = proton(&local);
    let page = client
        .list_environments()
        .max_results(1)
        .send()
        .await
        .unwrap();
    let filter = aws_sdk_proton::types::EnvironmentTemplateFilter::builder()
        .template_name("net")
        .major_version("1")
        .build()
        .unwrap();
    let other = client
        .list_environments()
        .environment_templates(filter.clone());
    let error = other
        .set_next_token(page.next_token)
        .send()
        .await
        .unwrap_err();
    assert!(error.into_service_error().is_validation_exception());
    let filtered = client
        .list_environments()
        .environment_templates(filter)
        .send()
        .await
        .unwrap();
    let names: Vec<_> = filtered
        .environments
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["dev-net", "prod-net", "shared-dns", "stage-net"]);
}

#[tokio::test(start_paused = true)]
async fn tags_come_in_pages() {
    let base = Environment::new("tagged");
    let tagged = (0..5).fold(base, |one, index| one.tag(format!("key-{index}"), "v"));
    let local = local(World::new().with(tagged));
    let arn = local.environments()[0].arn.clone();
    let client = proton(&local);
    let list = client
        .list_tags_for_resource()
        .resource_arn(&arn)
        .max_results(3);
    let first = list.clone().send().await.unwrap();
    let rest = list.set_next_token(first.next_token).send().await.unwrap();
    let keys: Vec<_> = first
        .tags
        .into_iter()
        .chain(rest.tags)
        .map(|tag| tag.key)
        .collect();
    assert_eq!(keys, ["key-0", "key-1", "key-2", "key-3", "key-4"]);
    assert_eq!(rest.next_token, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_is_absent() {
    let unknown = Deployment::in_progress().id_not_sent().start_not_sent();
    let local = local(World::new().with(environment("unknown", unknown).never_succeeded()));
    let read = proton(&local)
        .get_environment()
        .name("unknown")
        .send()
        .await
        .unwrap();
    let read = read.environment.unwrap();
    assert_eq!(read.last_attempted_deployment_id, None);
    // The SDK puts the epoch where a required time is missing.
    assert_eq!(read.last_deployment_attempted_at.secs(), 0);
    assert_eq!(read.last_deployment_succeeded_at.secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_deployment_starts_when_the_one_before_it_has_ended() {
    let next = Deployment::in_progress().left_alone(seconds(30), Ending::failed("no luck"));
    let world = World::new().with(
        environment("again", Deployment::in_progress())
            .then(Timing::AfterEnd(seconds(2)), Effect::Deploy(next)),
    );
    let local = local(world);
    let first = local.environments()[0].deployment_id.clone();
    let client = proton(&local);
    client
        .cancel_environment_deployment()
        .environment_name("again")
        .send()
        .await
        .unwrap();
    tokio::time::sleep(seconds(8)).await;
    let now = client
        .get_environment()
        .name("again")
        .send()
        .await
        .unwrap()
        .environment
        .unwrap();
    assert_eq!(now.deployment_status, DeploymentStatus::InProgress);
    assert_ne!(
        now.last_attempted_deployment_id.as_deref(),
        Some(first.as_str())
    );
    let old = client
        .get_deployment()
        .id(&first)
        .environment_name("again")
        .send()
        .await
        .unwrap();
    assert_eq!(
        old.deployment.unwrap().deployment_status,
        DeploymentStatus::Cancelled
    );
    tokio::time::sleep(seconds(60)).await;
    let ends: Vec<_> = local
        .deployments()
        .into_iter()
        .map(|one| {
            (
                one.status,
                one.completed_at.map(|at| at.duration_since(start()).ok()),
            )
        })
        .collect();
    assert_eq!(
        ends[1..],
        [
            (Status::Cancelled, Some(Some(seconds(5)))),
            (Status::Failed, Some(Some(seconds(37)))),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn scripts_happen_before_and_after_calls() {
    let after = environment("after", Deployment::in_progress())
        .then(Timing::after_listed(), Effect::End(Ending::succeeded()));
    let before = environment("before", Deployment::in_progress()).then(
        Timing::BeforeCall(Operation::CancelEnvironmentDeployment, 1),
        Effect::Cancel,
    );
    let gone = environment("gone", Deployment::in_progress())
        .then(Timing::At(seconds(60)), Effect::Delete);
    let local = local(World::new().with(after).with(before).with(gone));
    let client = proton(&local);
    let listed = client
        .list_environments()
        .send()
        .await
        .unwrap()
        .environments;
    assert!(
        listed
            .iter()
            .all(|one| one.deployment_status == DeploymentStatus::InProgress)
    );
    let listed = client
        .list_environments()
        .send()
        .await
        .unwrap()
        .environments;
    assert_eq!(listed[0].deployment_status, DeploymentStatus::Succeeded);
    let cancel = client
        .cancel_environment_deployment()
        .environment_name("before");
    assert!(
        cancel
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_conflict_exception()
    );
    tokio::time::sleep(seconds(60)).await;
    let read = client
        .get_environment()
        .name("gone")
        .send()
        .await
        .unwrap_err();
    assert!(read.into_service_error().is_resource_not_found_exception());
    assert_eq!(local.environments().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_shipped_world_can_be_loaded_and_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/worlds");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let world = World::load(file.unwrap().path()).unwrap();
        let local = local(world);
        assert!(!local.environments().is_empty() || !local.stacks().is_empty());
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn the_examples_of_the_readme_are_worlds() {
    let readme = include_str!("../../README.md");
    let examples = readme.split("```toml\n").skip(1);
    let examples: Vec<_> = examples
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        example.parse::<World>().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_world_shows_three_ends_within_thirty_seconds() {
    let local = local(World::demonstration());
    let client = proton(&local);
    for name in ["prod-net", "prod-data", "stage-net"] {
        client
            .cancel_environment_deployment()
            .environment_name(name)
            .send()
            .await
            .unwrap();
    }
    tokio::time::sleep(seconds(30)).await;
    let environments = local.environments();
    let status = |name: &str| {
        environments
            .iter()
            .find(|one| one.name == name)
            .map(|one| one.status)
    };
    assert_eq!(status("prod-net"), Some(Status::Cancelled));
    assert_eq!(status("prod-data"), Some(Status::Failed));
    assert_eq!(status("stage-net"), Some(Status::Succeeded));
}
