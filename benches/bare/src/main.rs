//! A Lambda function that does nothing: the least that a start can cost.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let service = service_fn(async |event: LambdaEvent<Value>| Ok::<_, Error>(event.payload));
    lambda_runtime::run(service).await
}
