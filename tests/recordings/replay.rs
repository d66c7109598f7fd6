//! CloudFormation as recorded: the query protocol's responses, made from a history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::recording::{Event, Recording, Update, time};

/// The events on a page of `DescribeStackEvents`.
const EVENTS_A_PAGE: usize = 100;

/// The responses' namespace.
const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

/// A moment of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Running,
    RollingBack,
    CleaningUp,
    Ended,
}

/// The response to a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// The recorded response to a cancel.
    Accepted,
    /// The recorded error for an update that has ended.
    TooLate,
}

/// A difference from the recording that real stacks may show, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    None,
    /// `LastOperations` holds only the newest operation, so a rollback hides its update.
    NewestOperationAlone,
    /// The rollback has moved `LastUpdatedTime`.
    StartMoved,
    /// The events have operation IDs of another kind than `LastOperations`.
    OtherOperationIds,
    /// The stack was deleted after its last update.
    Deleted,
}

impl Difference {
    pub(crate) const ALL: [Self; 5] = [
        Self::None,
        Self::NewestOperationAlone,
        Self::StartMoved,
        Self::OtherOperationIds,
        Self::Deleted,
    ];

    /// The differences of a stack that was not deleted.
    pub(crate) const OF_A_STACK_THAT_IS: [Self; 4] = [
        Self::None,
        Self::NewestOperationAlone,
        Self::StartMoved,
        Self::OtherOperationIds,
    ];
}

/// The stack as the replay shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    stack_id: String,
    stack_name: String,
    /// The events up to this moment, newest first.
    events: Vec<Event>,
    /// The events up to the update's end, newest first.
    ended: Vec<Event>,
    cancel: Cancel,
    difference: Difference,
    /// The number of requests so far.
    requests: usize,
}

impl Shown {
    /// The stack at this moment of the update.
    pub(crate) fn new(recording: &Recording, update: &Update<'_>, moment: Moment) -> Self {
        let since = |status| update.first(status).map(|(index, _)| index);
        let newest = match moment {
            Moment::Running => Some(update.start_index()),
            Moment::RollingBack => since("UPDATE_ROLLBACK_IN_PROGRESS"),
            Moment::CleaningUp => since("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"),
            Moment::Ended => Some(update.end_index()),
        };
        let newest = newest.expect("the recording has that moment");
        Self {
            stack_id: recording.stack_id.clone(),
            stack_name: recording.stack_name.clone(),
            events: recording.events[newest..].to_vec(),
            ended: recording.events[update.end_index()..].to_vec(),
            cancel: Cancel::Accepted,
            difference: Difference::None,
            requests: 0,
        }
    }

    /// The stack after its last update.
    pub(crate) fn latest(recording: &Recording) -> Self {
        let last = recording.updates().last();
        let last = last.expect("a recording has updates");
        Self::new(recording, &last, Moment::Ended)
    }

    pub(crate) fn when_cancelled(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    pub(crate) fn but(self, difference: Difference) -> Self {
        Self { difference, ..self }
    }

    fn is_deleted(&self) -> bool {
        self.difference == Difference::Deleted
    }

    /// The stack's own events, newest first.
    fn own(&self) -> impl Iterator<Item = &Event> {
        let events = self.events.iter();
        events.filter(|event| event.physical_resource_id.as_ref() == Some(&self.stack_id))
    }

    fn status(&self) -> &str {
        let newest = self.own().next().expect("a stack has events of its own");
        &newest.resource_status
    }

    /// The latest update's first event, and that of its rollback.
    fn latest_update(&self) -> (&Event, Option<&Event>) {
        let is_start = |event: &&Event| event.resource_status == "UPDATE_IN_PROGRESS";
        let start = self.own().find(is_start).expect("an update has started");
        let of_it = self.own().take_while(|event| !is_start(event));
        let rollback = of_it.filter(|event| event.resource_status == "UPDATE_ROLLBACK_IN_PROGRESS");
        (start, rollback.last())
    }

    /// The members that a stack and its summary share.
    fn stack(&self) -> String {
        let (start, rollback) = self.latest_update();
        let updated = rollback.filter(|_| self.difference == Difference::StartMoved);
        let updated = updated.unwrap_or(start);
        let status = if self.is_deleted() {
            "DELETE_COMPLETE"
        } else {
            self.status()
        };
        let reason = self.own().next().filter(|_| !self.is_deleted());
        let reason = reason.and_then(|event| event.resource_status_reason.as_deref());
        let members = [
            Some(("StackId", self.stack_id.clone())),
            Some(("StackName", self.stack_name.clone())),
            Some(("CreationTime", "2015-01-01T00:00:00.000Z".to_owned())),
            Some(("LastUpdatedTime", time(updated))),
            Some(("StackStatus", status.to_owned())),
            reason.map(|reason| ("StackStatusReason", reason.to_owned())),
        ];
        let members = members.into_iter().flatten();
        elements(members) + &self.operations(start, rollback)
    }

    /// `LastOperations`, newest first: a rollback comes before its update.
    fn operations(&self, start: &Event, rollback: Option<&Event>) -> String {
        let operations = [(rollback, "ROLLBACK"), (Some(start), "UPDATE_STACK")];
        let members = operations.into_iter().filter_map(|(event, kind)| {
            let id = event?.operation_id.clone()?;
            let operation = [("OperationType", kind.to_owned()), ("OperationId", id)];
            Some(format!("<member>{}</member>", elements(operation)))
        });
        let most = match self.difference {
            Difference::NewestOperationAlone => 1,
            Difference::None
            | Difference::StartMoved
            | Difference::OtherOperationIds
            | Difference::Deleted => 2,
        };
        let members: String = members.take(most).collect();
        format!("<LastOperations>{members}</LastOperations>")
    }

    fn event(&self, event: &Event) -> String {
        let operation = event.operation_id.as_deref();
        let operation = operation.map(|id| match self.difference {
            Difference::OtherOperationIds => format!("075e9710{}", &id[8..]),
            Difference::None
            | Difference::NewestOperationAlone
            | Difference::StartMoved
            | Difference::Deleted => id.to_owned(),
        });
        let known = |name, value: &str| Some((name, value.to_owned()));
        let member = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let members = [
            known("StackId", &event.stack_id),
            known("EventId", &event.id),
            known("StackName", &event.stack_name),
            member("OperationId", &operation),
            known("LogicalResourceId", &event.logical_resource_id),
            member("PhysicalResourceId", &event.physical_resource_id),
            known("ResourceType", &event.resource_type),
            known("Timestamp", &time(event)),
            known("ResourceStatus", &event.resource_status),
            member("ResourceStatusReason", &event.resource_status_reason),
            member("ClientRequestToken", &event.client_request_token),
        ];
        let members = elements(members.into_iter().flatten());
        format!("<member>{members}</member>")
    }

    fn events_page(&self, token: Option<&str>) -> String {
        let first = token.map_or(0, |token| token.parse().unwrap());
        let page = self.events.iter().skip(first).take(EVENTS_A_PAGE);
        let members: String = page.map(|event| self.event(event)).collect();
        let next = first + EVENTS_A_PAGE;
        let next = (next < self.events.len()).then(|| ("NextToken", next.to_string()));
        format!("<StackEvents>{members}</StackEvents>{}", elements(next))
    }

    /// The response to a request. Changes the stack where the request does.
    fn answer(&mut self, parameters: &BTreeMap<String, String>) -> (u16, String) {
        self.requests += 1;
        let parameter = |name| parameters.get(name).map(String::as_str);
        let action = parameter("Action").expect("a request names its action");
        let named = parameter("StackName");
        assert!(
            action == "ListStacks" || named == Some(&self.stack_id),
            "{action} of {named:?}, which was recorded as {}",
            self.stack_id
        );
        let result = match action {
            "ListStacks" => {
                let listed = parameters.iter();
                let mut listed = listed.filter(|(name, _)| name.starts_with("StackStatusFilter"));
                let is_listed =
                    !self.is_deleted() && listed.any(|(_, status)| status == self.status());
                let summary = is_listed.then(|| format!("<member>{}</member>", self.stack()));
                let summary = summary.unwrap_or_default();
                format!("<StackSummaries>{summary}</StackSummaries>")
            }
            "DescribeStacks" => format!("<Stacks><member>{}</member></Stacks>", self.stack()),
            "DescribeStackEvents" => self.events_page(parameter("NextToken")),
            "CancelUpdateStack" if self.cancel == Cancel::TooLate => {
                self.events.clone_from(&self.ended);
                return (
                    400,
                    error("CancelUpdateStack cannot be called from current stack status"),
                );
            }
            "CancelUpdateStack" => String::new(),
            other => panic!("{other} was not recorded"),
        };
        let result = match action {
            "CancelUpdateStack" => result,
            _ => format!("<{action}Result>{result}</{action}Result>"),
        };
        let metadata = "<ResponseMetadata><RequestId>5ccc7dcd-744c-11e5-be70-1b08c228efb3</RequestId></ResponseMetadata>";
        let body = format!(
            "<{action}Response xmlns=\"{NAMESPACE}\">{result}{metadata}</{action}Response>\n"
        );
        (200, body)
    }
}

fn error(message: &str) -> String {
    let error = [
        ("Type", "Sender".to_owned()),
        ("Code", "ValidationError".to_owned()),
        ("Message", message.to_owned()),
    ];
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>{}</Error><RequestId>2ab5db0d-5bca-11e4-9592-272cff50ba2d</RequestId></ErrorResponse>\n",
        elements(error)
    )
}

/// XML elements with text.
fn elements(members: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let members = members.into_iter().map(|(name, text)| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        format!("<{name}>{text}</{name}>")
    });
    members.collect()
}

/// An HTTP server that replays a stack. Stops when dropped.
pub(crate) struct Replay {
    url: String,
    shown: Arc<Mutex<Option<Shown>>>,
    accepting: JoinHandle<()>,
}

impl Replay {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shown = Arc::new(Mutex::new(None));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shown)));
        Self {
            url,
            shown,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The number of requests since the last `show`, and the maximum for one read: one for the
    /// stack, and one for each page of its events.
    pub(crate) fn requests(&self) -> (usize, usize) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.as_ref().expect("a test shows something first");
        let pages = shown.events.len().div_ceil(EVENTS_A_PAGE);
        (shown.requests, 1 + pages)
    }

    /// Shows this stack from now on.
    pub(crate) fn show(&self, shown: Shown) {
        let mut current = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(shown);
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shown: Arc<Mutex<Option<Shown>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shown = Arc::clone(&shown);
        tokio::spawn(async move {
            // The function may close the connection at any time.
            let _ = serve(stream, &shown).await;
        });
    }
}

/// Answers the requests of one connection.
async fn serve(stream: TcpStream, shown: &Mutex<Option<Shown>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let parameters = parameters(&String::from_utf8(body).unwrap());
        let (status, body) = {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            let shown = shown.as_mut().expect("a test shows something first");
            shown.answer(&parameters)
        };
        let length = body.len();
        // One write, because a second one would wait for the client's delayed acknowledgement.
        let response = format!(
            "HTTP/1.1 {status} Replayed\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(response.as_bytes()).await?;
    }
}

/// The parameters of a form.
fn parameters(form: &str) -> BTreeMap<String, String> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                u8::from_str_radix(digits, 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
