//! Many sets seen at once: the lists of whole namespaces sorted into one observation a set.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Observation;
use super::observation::Asking;

/// What the API server lists of all sets of one namespace or of all.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    pub stateful_sets: Vec<StatefulSet>,
    pub pods: Vec<Pod>,
    pub claims: Vec<PersistentVolumeClaim>,
    pub endpoint_slices: Vec<EndpointSlice>,
}

/// An observation of each set, by namespace and name; PostgreSQL has not been asked.
#[must_use]
pub fn observations(listed: Listed) -> Vec<Observation> {
    let Listed { stateful_sets, pods, claims, endpoint_slices } = listed;
    let mut sets: Vec<Observation> = stateful_sets
        .into_iter()
        .map(|set| Observation {
            name: set.metadata.name.clone().unwrap_or_default(),
            namespace: set.metadata.namespace.clone().unwrap_or_default(),
            stateful_set: Some(set),
            asking: Asking::Forbidden,
            ..Observation::default()
        })
        .collect();
    sets.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    for pod in pods {
        if let Some(set) = set_of(&mut sets, &pod.metadata) {
            set.pods.push(pod);
        }
    }
    for claim in claims {
        if let Some(set) = set_of(&mut sets, &claim.metadata) {
            set.claims.push(claim);
        }
    }
    for slice in endpoint_slices {
        if let Some(set) = set_of(&mut sets, &slice.metadata) {
            set.endpoint_slices.push(slice);
        }
    }
    sets
}

/// The set an object belongs to: the one its `app` label names, in its namespace. `sets` are sorted.
fn set_of<'a>(sets: &'a mut [Observation], metadata: &ObjectMeta) -> Option<&'a mut Observation> {
    let key = (metadata.namespace.as_deref()?, metadata.labels.as_ref()?.get("app")?.as_str());
    let found = sets.binary_search_by(|set| (set.namespace.as_str(), set.name.as_str()).cmp(&key)).ok()?;
    sets.get_mut(found)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<K: serde::de::DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).unwrap()
    }

    fn metadata(namespace: &str, name: &str, app: &str) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name, "labels": {"app": app}}})
    }

    #[test]
    fn every_object_finds_its_set_and_strangers_find_none() {
        let set = |namespace: &str, name: &str| -> StatefulSet { read(metadata(namespace, name, name)) };
        let pod = |namespace: &str, name: &str, app: &str| -> Pod { read(metadata(namespace, name, app)) };
        let listed = Listed {
            stateful_sets: vec![set("b", "pgset"), set("a", "pgset"), set("a", "orders")],
            pods: vec![
                pod("b", "pgset-0", "pgset"),
                pod("a", "pgset-0", "pgset"),
                pod("a", "orders-1", "orders"),
                pod("c", "pgset-0", "pgset"),
                pod("a", "web-0", "web"),
            ],
            claims: vec![read(metadata("a", "pgset-pvc", "pgset"))],
            endpoint_slices: vec![read(metadata("b", "pgset-master-x", "pgset"))],
        };
        let sets = observations(listed);
        let seen: Vec<(&str, &str, usize, usize, usize)> = sets
            .iter()
            .map(|set| {
                let (pods, claims, slices) = (set.pods.len(), set.claims.len(), set.endpoint_slices.len());
                (set.namespace.as_str(), set.name.as_str(), pods, claims, slices)
            })
            .collect();
        assert_eq!(seen, [("a", "orders", 1, 0, 0), ("a", "pgset", 1, 1, 0), ("b", "pgset", 1, 0, 1)]);
        assert!(sets.iter().all(|set| set.asking == Asking::Forbidden));
    }
}
