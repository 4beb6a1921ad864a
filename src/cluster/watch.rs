//! The set's objects, kept current by watches. No polling: whoever waits is woken by a change.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{ApiFailure, Cluster};
use crate::set::Observation;
use crate::set::observation::happened;

/// Watches of everything that an [`Observation`] holds of one set, but for PostgreSQL's answers and logs.
pub struct Watch {
    seen: Arc<Seen>,
    /// Ends the watches when dropped.
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    stores: Mutex<Stores>,
    changed: Notify,
}

#[derive(Default)]
struct Stores {
    stateful_set: Store<StatefulSet>,
    pods: Store<Pod>,
    claims: Store<PersistentVolumeClaim>,
    slices: Store<EndpointSlice>,
    events: Store<Event>,
}

/// One kind's objects by name.
struct Store<K> {
    objects: BTreeMap<String, K>,
    /// A list that is still coming in after a reconnect; it replaces `objects` when complete.
    incoming: BTreeMap<String, K>,
    complete: bool,
    failure: Option<ApiFailure>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), incoming: BTreeMap::new(), complete: false, failure: None }
    }
}

impl Watch {
    /// Starts watching; the first observation is complete once [`Watch::complete`] returns.
    #[must_use]
    pub fn start(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        let queries = Queries::of(name);
        let mut follow = Follow { cluster, namespace, seen: &seen, tasks: &mut tasks };
        follow.kind(queries.stateful_set, |stores| &mut stores.stateful_set, |_| true);
        follow.kind(queries.pods, |stores| &mut stores.pods, |_| true);
        follow.kind(queries.claims, |stores| &mut stores.claims, |_| true);
        follow.kind(queries.slices, |stores| &mut stores.slices, |_| true);
        let set = name.to_owned();
        follow.kind(watcher::Config::default(), |stores| &mut stores.events, move |event| concerns(&set, event));
        Self { seen, _tasks: tasks }
    }

    /// Waits until every kind has been listed once.
    ///
    /// # Errors
    /// The API server refuses one of the kinds (events excepted: they explain, but nothing rests on them).
    pub async fn complete(&self) -> Result<(), ApiFailure> {
        loop {
            let changed = self.seen.changed.notified();
            if let Some(done) = self.with(Stores::listed) {
                return done;
            }
            changed.await;
        }
    }

    /// Waits for the next change.
    pub async fn changed(&self) {
        self.seen.changed.notified().await;
    }

    /// Why nothing new is seen at the moment; `None` while the watches run.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.with(|stores| stores.pods.failure.as_ref().map(|failure| failure.message.clone()))
    }

    /// Copies what is known now into an observation; answers and logs stay as they are.
    pub fn observe(&self, into: &mut Observation) {
        self.with(|stores| {
            into.stateful_set = stores.stateful_set.objects.values().next().cloned();
            into.pods = stores.pods.objects.values().cloned().collect();
            into.claims = stores.claims.objects.values().cloned().collect();
            into.endpoint_slices = stores.slices.objects.values().cloned().collect();
            into.events = stores.events.objects.values().cloned().collect();
            into.events.sort_by_key(happened);
        });
    }

    fn with<T>(&self, read: impl FnOnce(&mut Stores) -> T) -> T {
        read(&mut self.seen.stores.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Stores {
    /// Whether every kind has been listed, or what keeps one from it for good.
    fn listed(&mut self) -> Option<Result<(), ApiFailure>> {
        let refused = [
            refused(&mut self.stateful_set.failure),
            refused(&mut self.pods.failure),
            refused(&mut self.claims.failure),
            refused(&mut self.slices.failure),
        ];
        if let Some(failure) = refused.into_iter().flatten().next() {
            return Some(Err(failure));
        }
        let events = self.events.complete || self.events.failure.is_some();
        let all = self.stateful_set.complete && self.pods.complete && self.claims.complete && self.slices.complete;
        (all && events).then_some(Ok(()))
    }
}

fn refused(failure: &mut Option<ApiFailure>) -> Option<ApiFailure> {
    failure.take_if(|failure| !failure.is_transient())
}

/// What is asked of the API server for one set; shared by watching and looking once.
pub(super) struct Queries {
    pub stateful_set: watcher::Config,
    pub pods: watcher::Config,
    pub claims: watcher::Config,
    pub slices: watcher::Config,
}

impl Queries {
    pub fn of(name: &str) -> Self {
        let app = format!("app={name}");
        Self {
            stateful_set: watcher::Config::default().fields(&format!("metadata.name={name}")),
            pods: watcher::Config::default().labels(&app),
            claims: watcher::Config::default().labels(&app),
            slices: watcher::Config::default()
                .labels(&format!("kubernetes.io/service-name in ({name}-master,{name}-replica)")),
        }
    }
}

/// Whether an event is about the set, a member or a claim: field selectors cannot say "one of these".
pub(super) fn concerns(set: &str, event: &Event) -> bool {
    let Some(name) = event.involved_object.name.as_deref() else { return false };
    let of_set = |text: &str| text.strip_prefix(set).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    of_set(name) || name.split_once('-').is_some_and(|(_, rest)| of_set(rest))
}

struct Follow<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    seen: &'a Arc<Seen>,
    tasks: &'a mut JoinSet<()>,
}

impl Follow<'_> {
    fn kind<K>(
        &mut self,
        config: watcher::Config,
        store: fn(&mut Stores) -> &mut Store<K>,
        wanted: impl Fn(&K) -> bool + Send + 'static,
    ) where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let what = format!("failed to watch {} in namespace {}", K::plural(&K::DynamicType::default()), self.namespace);
        let seen = Arc::clone(self.seen);
        self.tasks.spawn(async move {
            // managedFields are half of an object's size and nobody here reads them.
            let stream = watching(api, config).modify(|object: &mut K| object.managed_fields_mut().clear());
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                let mut stores = seen.stores.lock().unwrap_or_else(PoisonError::into_inner);
                store(&mut stores).take(event, &wanted, &what);
                drop(stores);
                seen.changed.notify_one();
            }
        });
    }
}

impl<K: Resource> Store<K> {
    fn take(&mut self, event: watcher::Result<watcher::Event<K>>, wanted: &impl Fn(&K) -> bool, what: &str) {
        match event {
            Ok(event) => {
                // A list that begins has not been answered yet.
                if !matches!(event, watcher::Event::Init) {
                    self.failure = None;
                }
                match event {
                    watcher::Event::Init => self.incoming.clear(),
                    watcher::Event::InitApply(object) if wanted(&object) => {
                        self.incoming.insert(object.name_any(), object);
                    }
                    watcher::Event::InitDone => {
                        self.objects = std::mem::take(&mut self.incoming);
                        self.complete = true;
                    }
                    watcher::Event::Apply(object) if wanted(&object) => {
                        self.objects.insert(object.name_any(), object);
                    }
                    watcher::Event::InitApply(_) | watcher::Event::Apply(_) => {}
                    watcher::Event::Delete(object) => {
                        self.objects.remove(&object.name_any());
                    }
                }
            }
            Err(error) => self.failure = failure(error, what),
        }
    }
}

/// Watches a kind, and lists it anew after every failure: a watch that is taken up again says nothing until something
/// changes, so nobody would learn that the API server answers again. Endless, and never faster than [`Pace`].
pub(super) fn watching<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let anew = move || watcher(api.clone(), config.clone()).backoff(Pace::default()).boxed();
    let first = anew();
    // A watch that cannot even begin after each list is taken up ever more slowly as well; one that has told a change is fine.
    stream::unfold((first, false, Pace::default()), move |(mut events, mut listed, mut pace)| {
        let anew = anew.clone();
        async move {
            let event = events.next().await?;
            match &event {
                Ok(watcher::Event::InitDone) => listed = true,
                Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => pace.reset(),
                Err(_) if listed => {
                    let pause = pace.next().unwrap_or_default();
                    events = stream::once(tokio::time::sleep(pause)).flat_map(move |()| anew()).boxed();
                    listed = false;
                }
                Ok(_) | Err(_) => {}
            }
            Some((event, (events, listed, pace)))
        }
    })
}

/// The failure to remember; `None` for what is mended by listing anew (an expired resource version, whether it is told as an
/// event of the watch or in answer to the request).
pub(super) fn failure(error: watcher::Error, what: &str) -> Option<ApiFailure> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 410 =>
        {
            None
        }
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            Some(ApiFailure::new(what, &error))
        }
        watcher::Error::WatchError(status) if status.code == 410 => None,
        watcher::Error::WatchError(status) => Some(ApiFailure::from_status(what.to_owned(), &status)),
        // The stream ended in the middle of a line: the API server went away; connecting again tells more.
        watcher::Error::WatchFailed(error) => Some(ApiFailure::new(what, &error)),
        watcher::Error::NoResourceVersion => Some(ApiFailure {
            what: what.to_owned(),
            code: Some(500),
            reason: String::new(),
            message: "the API server sent a list without a resource version".to_owned(),
        }),
    }
}

/// How soon a broken watch is tried again: at once nearly, then up to every two seconds. A person is watching, and
/// five requests every two seconds burden nobody.
#[derive(Default)]
pub(super) struct Pace(u32);

impl Iterator for Pace {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = Duration::from_millis(100 << self.0.min(5)).min(Duration::from_secs(2));
        self.0 += 1;
        Some(wait)
    }
}

impl Backoff for Pace {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use serde_json::json;
    use tower_test::mock;

    use super::*;

    #[tokio::test]
    async fn after_a_failure_the_kind_is_listed_anew_though_nothing_has_changed() {
        let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
        let client = kube::Client::new(service, "default");
        let maps: Api<ConfigMap> = Api::namespaced(client, "default");
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            // Listed, the watch of it breaks off, and nobody answers the first list after that.
            for answer in [Some("list"), None, None, Some("list")] {
                let (request, send) = server.next_request().await.unwrap();
                asked.push(request.uri().query().is_some_and(|query| query.contains("watch=true")));
                match answer {
                    Some(_) => {
                        let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"}, "items": []});
                        send.send_response(Response::new(Body::from(serde_json::to_vec(&list).unwrap())));
                    }
                    None => send.send_error("connection refused"),
                }
            }
            asked
        });
        let mut events = std::pin::pin!(watching(maps, watcher::Config::default()));
        let mut told = Vec::new();
        while told.iter().filter(|word| **word == "listed").count() < 2 {
            told.push(match events.next().await.unwrap() {
                Ok(watcher::Event::Init) => continue,
                Ok(watcher::Event::InitDone) => "listed",
                Ok(_) => "changed",
                Err(_) => "failed",
            });
        }
        assert_eq!(told, ["listed", "failed", "failed", "listed"]);
        assert_eq!(asked.await.unwrap(), [false, true, false, false]);
    }

    #[test]
    fn a_list_that_only_begins_is_no_answer() {
        let mut store = Store::<ConfigMap>::default();
        store.take(Err(watcher::Error::NoResourceVersion), &|_| true, "failed to watch");
        store.take(Ok(watcher::Event::Init), &|_| true, "");
        assert!(store.failure.is_some());
        store.take(Ok(watcher::Event::InitDone), &|_| true, "");
        assert!(store.failure.is_none());
    }

    #[test]
    fn events_of_other_sets_are_left_out() {
        let about = |name: &str| {
            let event = json!({"metadata": {}, "involvedObject": {"name": name}});
            concerns("pgset", &serde_json::from_value(event).unwrap())
        };
        for ours in ["pgset", "pgset-0", "pgset-pvc", "pgdata-pgset-1"] {
            assert!(about(ours), "{ours}");
        }
        for other in ["pgset2-0", "web", "my-app", "pgdata-other-0"] {
            assert!(!about(other), "{other}");
        }
    }

    #[test]
    fn a_broken_watch_is_tried_again_soon_and_never_rarely() {
        let waits: Vec<u128> = Pace::default().take(8).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000, 2000]);
    }
}
