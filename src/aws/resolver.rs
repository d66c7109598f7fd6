//! The addresses of hosts: connections that begin together share one lookup.
//!
//! The system's resolver needs a thread for each lookup, and a run opens all its connections at once.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::future::{FutureExt as _, Shared};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower::Service;

/// The time for which an answer is used. The records of AWS's endpoints live for five seconds and longer.
const LIFETIME: Duration = Duration::from_secs(5);

/// A resolver that remembers its last lookup of every host. A lookup that failed is made again.
#[derive(Clone, Debug)]
pub(crate) struct Resolver<R = GaiResolver> {
    system: R,
    lookups: Arc<Mutex<HashMap<Name, Lookup>>>,
}

/// What a lookup found.
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

type Finding = Pin<Box<dyn Future<Output = Found> + Send>>;

#[derive(Clone, Debug)]
struct Lookup {
    found: Shared<Finding>,
    /// When the lookup began, by the system's clock: the monotonic clock may stop while the function is
    /// frozen.
    since: SystemTime,
}

impl Lookup {
    fn is_usable(&self, now: SystemTime) -> bool {
        let is_young = now
            .duration_since(self.since)
            .is_ok_and(|age| age < LIFETIME);
        is_young && self.found.peek().is_none_or(Result::is_ok)
    }
}

impl Resolver {
    /// Makes a resolver that asks the system.
    pub(crate) fn new() -> Self {
        Self::of(GaiResolver::new())
    }
}

impl<R> Resolver<R>
where
    R: Service<Name, Error = io::Error>,
    R::Response: Iterator<Item = SocketAddr>,
    R::Future: Send + 'static,
{
    fn of(system: R) -> Self {
        Self {
            system,
            lookups: Arc::default(),
        }
    }

    /// Returns the last lookup of a host. Begins one if there is none, or if the last one is old or failed.
    fn lookup(&mut self, host: Name, now: SystemTime) -> Shared<Finding> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = lookups.get(&host).filter(|lookup| lookup.is_usable(now)) {
            return lookup.found.clone();
        }
        let answer = self.system.call(host.clone());
        let finding: Finding = Box::pin(async { Ok(answer.await.map_err(Arc::new)?.collect()) });
        let found = finding.shared();
        let lookup = Lookup {
            found: found.clone(),
            since: now,
        };
        lookups.insert(host, lookup);
        found
    }
}

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name, Error = io::Error>,
    R::Response: Iterator<Item = SocketAddr>,
    R::Future: Send + 'static,
{
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Arc<io::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.system.poll_ready(context).map_err(Arc::new)
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let found = self.lookup(host, SystemTime::now());
        Box::pin(async { Ok(found.await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Ready;
    use std::net::Ipv4Addr;

    use super::*;

    /// A system's resolver whose every answer has another address. The answers before `works_from` fail.
    struct Counting {
        lookups: u8,
        works_from: u8,
    }

    impl Service<Name> for Counting {
        type Response = std::iter::Once<SocketAddr>;
        type Error = io::Error;
        type Future = Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            self.lookups += 1;
            std::future::ready(if self.lookups < self.works_from {
                Err(io::Error::other("no such host"))
            } else {
                Ok(std::iter::once(address(self.lookups)))
            })
        }
    }

    fn address(lookup: u8) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, lookup), 0).into()
    }

    fn resolver(works_from: u8) -> Resolver<Counting> {
        Resolver::of(Counting {
            lookups: 0,
            works_from,
        })
    }

    fn host(name: &str) -> Name {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn connections_that_begin_together_share_one_lookup_of_a_host() {
        let mut resolver = resolver(1);
        let now = SystemTime::now();
        let [first, second] = [1, 2].map(|_| resolver.lookup(host("proton.example"), now));
        let other = resolver.lookup(host("events.example"), now);
        assert_eq!(first.await.unwrap(), [address(1)]);
        assert_eq!(second.await.unwrap(), [address(1)]);
        assert_eq!(other.await.unwrap(), [address(2)]);
        assert_eq!(resolver.system.lookups, 2);
    }

    #[tokio::test]
    async fn an_answer_is_used_for_five_seconds() {
        let mut resolver = resolver(1);
        let begun = SystemTime::now();
        for (age, answer) in [(0, 1), (4999, 1), (5000, 2), (5001, 2)] {
            let now = begun + Duration::from_millis(age);
            let found = resolver.lookup(host("proton.example"), now).await;
            assert_eq!(found.unwrap(), [address(answer)], "{age} ms");
        }
        // The clock was set back: nobody knows the answer's age.
        let found = resolver.lookup(host("proton.example"), begun).await;
        assert_eq!(found.unwrap(), [address(3)]);
    }

    #[tokio::test]
    async fn a_lookup_that_failed_is_made_again() {
        let mut resolver = resolver(2);
        let now = SystemTime::now();
        let failed = resolver.lookup(host("proton.example"), now).await;
        assert_eq!(failed.unwrap_err().to_string(), "no such host");
        let found = resolver.lookup(host("proton.example"), now).await;
        assert_eq!(found.unwrap(), [address(2)]);
    }
}
