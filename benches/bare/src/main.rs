//! A function that does nothing: what a start costs at least.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let service = service_fn(async |event: LambdaEvent<Value>| Ok::<_, Error>(event.payload));
    lambda_runtime::run(service).await
}
