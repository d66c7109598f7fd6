//! The program's arguments.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use local_aws::World;

use crate::failure::Failure;

pub(crate) const HELP: &str = "\
The local AWS: Proton, CloudFormation, EventBridge and the Lambda Runtime API.

Usage:
  cargo local EVENT [--engine ENGINE] [--world FILE] [--as-is] [--json] [--follow-every SECONDS]
      Builds the function, hands it the event in the file EVENT under the Runtime API, and shows
      what it did to the world.
  cargo local serve [--engine ENGINE] [--port PORT] [--host ADDRESS] [--world FILE]
                    [--follow-every SECONDS]
      Stays up for the AWS CLI, boto3, `sam local invoke` or a function of your own.

Options:
  --engine ENGINE what the function's ENGINE is, and whose world is shown: `proton` or
                  `cloudformation` [default: the ENGINE that is set here, else proton]
  --world FILE    the world file; the default shows every outcome
  --as-is         hand the event over byte for byte; else its times are moved, all by the same, so
                  that it happened a minute ago
  --json          print one JSON document
  --follow-every SECONDS
                  the time between two reads of the follower, a second process that publishes
                  the end of what is still being cancelled [default: 2]; 90 when deployed
  --port PORT     the port to listen on [default: 4599]; 0 takes a free one
  --host ADDRESS  the address to listen on [default: 127.0.0.1]; 0.0.0.0 for containers
  -h, --help      show this

The function sees the settings that are set here: ENGINE, DRY_RUN, ENVIRONMENTS, PROTECTED_ENVIRONMENTS,
ALARM_SCOPE, IGNORED_ALARMS, STUCK_AFTER_MINUTES, MAX_CANCELLATIONS, SETTLE_TIMEOUT_SECONDS, EVENT_BUS_NAME,
CONCURRENCY, AWS_LAMBDA_LOG_FORMAT and AWS_LAMBDA_LOG_LEVEL.

Exit status: 0, 1 when the invocation failed, 2 when it could not be tried.
";

/// A command of the program.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Run(RunOptions),
    Serve(ServeOptions),
}

/// The service that deploys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Proton,
    CloudFormation,
}

impl Engine {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Proton => "proton",
            Self::CloudFormation => "cloudformation",
        }
    }

    /// Returns the engine of the arguments, or of the setting `ENGINE`, or Proton. An invalid setting
    /// is the function's to refuse.
    pub(crate) fn chosen(argument: Option<Self>) -> Self {
        let setting = || std::env::var("ENGINE").ok()?.parse().ok();
        argument.or_else(setting).unwrap_or(Self::Proton)
    }

    /// Reads the world of a file, or returns the engine's default.
    pub(crate) fn world(self, file: Option<&Path>) -> Result<World, Failure> {
        match (file, self) {
            (Some(file), _) => World::load(file).map_err(|error| Failure::Usage(error.to_string())),
            (None, Self::Proton) => Ok(World::demonstration()),
            (None, Self::CloudFormation) => Ok(World::cloudformation_demonstration()),
        }
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "proton" => Ok(Self::Proton),
            "cloudformation" => Ok(Self::CloudFormation),
            _ => Err("must be `proton` or `cloudformation`".to_owned()),
        }
    }
}

/// The options of a trial.
#[derive(Debug, PartialEq)]
pub(crate) struct RunOptions {
    pub(crate) event: PathBuf,
    pub(crate) engine: Option<Engine>,
    pub(crate) world: Option<PathBuf>,
    pub(crate) times: Times,
    pub(crate) output: Output,
    pub(crate) follow_every: Duration,
}

/// The treatment of the event's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    Moved,
    AsIs,
}

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Text,
    Json,
}

/// The options of `serve`.
#[derive(Debug, PartialEq)]
pub(crate) struct ServeOptions {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) engine: Option<Engine>,
    pub(crate) world: Option<PathBuf>,
    pub(crate) follow_every: Duration,
}

/// The usual time between two reads of the follower.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

pub(crate) fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut positional: Option<PathBuf> = None;
    let (mut engine, mut world, mut host, mut port) = (None, None, None, None);
    let (mut times, mut output, mut follow_every) = (Times::Moved, Output::Text, FOLLOW_EVERY);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("engine") => engine = Some(parser.value()?.parse::<Engine>()?),
            Arg::Long("world") => world = Some(PathBuf::from(parser.value()?)),
            Arg::Long("host") => host = Some(parser.value()?.string()?),
            Arg::Long("port") => port = Some(parser.value()?.parse::<u16>()?),
            Arg::Long("follow-every") => {
                follow_every = Duration::from_secs(parser.value()?.parse::<u64>()?.max(1));
            }
            Arg::Long("as-is") => times = Times::AsIs,
            Arg::Long("json") => output = Output::Json,
            Arg::Value(value) if positional.is_none() => positional = Some(value.into()),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(argument.unexpected()),
        }
    }
    let Some(positional) = positional else {
        return Err("an event file or `serve` is missing".into());
    };
    if positional.as_os_str() == "serve" {
        if times == Times::AsIs || output == Output::Json {
            return Err("`--as-is` and `--json` belong to an event, not to `serve`".into());
        }
        return Ok(Command::Serve(ServeOptions {
            host: host.unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: port.unwrap_or(4599),
            engine,
            world,
            follow_every,
        }));
    }
    if host.is_some() || port.is_some() {
        return Err("`--host` and `--port` belong to `serve`, not to an event".into());
    }
    Ok(Command::Run(RunOptions {
        event: positional,
        engine,
        world,
        times,
        output,
        follow_every,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, String> {
        parse(Parser::from_args(arguments)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_event_and_its_options() {
        let command = parsed(&[
            "--json",
            "events/alarm.json",
            "--world=w.toml",
            "--as-is",
            "--engine",
            "cloudformation",
        ]);
        assert_eq!(
            command,
            Ok(Command::Run(RunOptions {
                event: "events/alarm.json".into(),
                engine: Some(Engine::CloudFormation),
                world: Some("w.toml".into()),
                times: Times::AsIs,
                output: Output::Json,
                follow_every: FOLLOW_EVERY,
            }))
        );
    }

    #[test]
    fn serve_and_its_options() {
        let options = |host: &str, port| {
            Ok(Command::Serve(ServeOptions {
                host: host.to_owned(),
                port,
                engine: None,
                world: None,
                follow_every: FOLLOW_EVERY,
            }))
        };
        assert_eq!(parsed(&["serve"]), options("127.0.0.1", 4599));
        assert_eq!(
            parsed(&["serve", "--port", "0", "--host", "0.0.0.0"]),
            options("0.0.0.0", 0)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for arguments in [
            &[][..],
            &["a.json", "b.json"],
            &["serve", "--json"],
            &["a.json", "--port", "1"],
            &["serve", "--port", "65536"],
            &["serve", "--port"],
            &["--wrld", "x", "a.json"],
            &["a.json", "--engine", "CloudFormation"],
        ] {
            assert!(parsed(arguments).is_err(), "{arguments:?}");
        }
        assert_eq!(parsed(&["-h"]), Ok(Command::Help));
    }
}
