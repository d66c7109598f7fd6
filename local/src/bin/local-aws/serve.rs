//! `cargo local serve`: runs until Ctrl-C or SIGTERM.

use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, println};
use local_aws::{Clock, LocalAws, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Engine, ServeOptions};
use crate::failure::Failure;
use crate::follow::Follower;
use crate::function::build;

pub(crate) async fn serve(options: ServeOptions) -> Result<ExitCode, Failure> {
    let engine = Engine::chosen(options.engine);
    let world = engine.world(options.world.as_deref())?;
    let (host, port) = (options.host, options.port);
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .map_err(|error| {
            Failure::Usage(format!(
                "cannot listen on {host}:{port}: {error}; choose another address with --host and --port"
            ))
        })?;
    let mut ended = std::pin::pin!(ended()?);
    let local = LocalAws::new(world, Clock::system());
    let count = match engine {
        Engine::Proton => local.environments().len(),
        Engine::CloudFormation => local.stacks().len(),
    };
    let server = local.serve(listener);
    println!(
        "{}",
        greeting(engine, &server.endpoint_url(), &server.address(), count)
    );
    let follow = follow(&local, &server, engine, options.follow_every);
    tokio::select! {
        () = &mut ended => {}
        failure = follow => {
            // What it serves besides is of use without the follower.
            eprintln!("nothing is followed: {failure}");
            ended.await;
        }
    }
    server.shut_down().await;
    println!("ended");
    Ok(ExitCode::SUCCESS)
}

/// Follows published events. Returns only if the follower cannot start.
async fn follow(local: &LocalAws, server: &Server, engine: Engine, every: Duration) -> Failure {
    let started = async {
        let binary = build().await?;
        Follower::start(local, server, engine, &binary, every).await
    };
    match started.await {
        Ok(mut follower) => match follower.go_on().await {},
        Err(failure) => failure,
    }
}

/// Returns a future that waits for Ctrl-C or SIGTERM, from now on.
fn ended() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::Trial(format!("cannot wait for signals: {error}")))
    };
    let mut interrupted = listen(SignalKind::interrupt())?;
    let mut terminated = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

fn greeting(engine: Engine, url: &str, address: &str, count: usize) -> String {
    let (service, list, what) = match engine {
        Engine::Proton => ("proton", "list-environments", "environments"),
        Engine::CloudFormation => ("cloudformation", "list-stacks", "stacks"),
    };
    format!(
        "\
the local AWS listens on {url}: {count} {what}

AWS CLI    aws --endpoint-url {url} {service} {list}
boto3      boto3.client(\"{service}\", endpoint_url=\"{url}\")
SDKs       AWS_ENDPOINT_URL={url} AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
function   AWS_LAMBDA_RUNTIME_API={address}
invoke     curl --data @EVENT {url}/2015-03-31/functions/function/invocations
events     curl {url}/_local/events

Ctrl-C ends it"
    )
}
