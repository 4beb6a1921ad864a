//! Many sets, one line each. The view is versioned like that of a status.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;
use serde::Serialize;

use super::table;
use super::text::age;
use crate::set::Observation;
use crate::set::health::{Word, health};
use crate::set::observation::{CONTAINER, PodReading};

/// `kind: List` of `pgset/v1`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListView {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub items: Vec<SetView>,
}

/// One set.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetView {
    pub namespace: String,
    pub name: String,
    /// Members whose pods are ready.
    pub ready: usize,
    /// Members the set should have.
    pub wanted: i32,
    /// PostgreSQL's word where it was asked, else the member `NAME-master` leads to.
    pub primary: Option<String>,
    pub healthy: bool,
    /// Whose word `healthy` is.
    pub word: Word,
    pub image: Option<String>,
    /// What a claim asks for.
    pub size: Option<String>,
    pub created: Option<Timestamp>,
}

impl ListView {
    #[must_use]
    pub fn new(sets: &[Observation]) -> Self {
        Self { api_version: "pgset/v1", kind: "List", items: sets.iter().map(SetView::new).collect() }
    }

    /// The table for people.
    #[must_use]
    pub fn text(&self, namespaces: bool, now: Timestamp) -> String {
        let mut headings = vec!["NAME", "MEMBERS", "PRIMARY", "HEALTH", "IMAGE", "SIZE", "AGE"];
        if namespaces {
            headings.insert(0, "NAMESPACE");
        }
        let rows: Vec<Vec<String>> = self.items.iter().map(|set| set.row(namespaces, now)).collect();
        table(&headings, &rows)
    }

    /// The names alone.
    #[must_use]
    pub fn names(&self, namespaces: bool) -> String {
        let name = |set: &SetView| {
            if namespaces { format!("{}/{}\n", set.namespace, set.name) } else { format!("{}\n", set.name) }
        };
        self.items.iter().map(name).collect()
    }
}

impl SetView {
    fn new(seen: &Observation) -> Self {
        let health = health(seen);
        let set = seen.stateful_set.as_ref();
        let template = set.and_then(|set| set.spec.template.spec.as_ref());
        let container = template.and_then(|spec| spec.containers.iter().find(|container| container.name == CONTAINER));
        let primary = match health.word {
            Word::PostgreSQL => seen.primaries(),
            Word::Kubernetes => seen.endpoints(&format!("{}-master", seen.name)),
        };
        let templates = set.and_then(|set| set.spec.volume_claim_templates.as_ref()).into_iter().flatten();
        let mut claims = templates.chain(&seen.claims).filter_map(|claim| claim.spec.as_ref());
        Self {
            namespace: seen.namespace.clone(),
            name: seen.name.clone(),
            ready: seen.pods.iter().filter(|pod| pod.is_ready() && !pod.is_terminating()).count(),
            wanted: seen.wanted().unwrap_or(0),
            primary: if let [one] = primary[..] { Some(one.to_owned()) } else { None },
            healthy: health.is_healthy(),
            word: health.word,
            image: container.and_then(|container| container.image.clone()),
            size: claims.find_map(size),
            created: set.and_then(|set| set.metadata.creation_timestamp.as_ref()).map(|time| time.0),
        }
    }

    fn health(&self) -> &'static str {
        // `ready` is Kubernetes' own word for it and promises no more than Kubernetes knows.
        match (self.wanted, self.healthy, self.word) {
            (0, ..) => "stopped",
            (_, true, Word::PostgreSQL) => "healthy",
            (_, false, Word::PostgreSQL) => "not healthy",
            (_, true, Word::Kubernetes) => "ready",
            (_, false, Word::Kubernetes) => "not ready",
        }
    }

    fn row(&self, namespaces: bool, now: Timestamp) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mut row = vec![
            self.name.clone(),
            format!("{}/{}", self.ready, self.wanted),
            or_none(&self.primary),
            self.health().to_owned(),
            or_none(&self.image),
            or_none(&self.size),
            or_none(&self.created.map(|created| age(now.duration_since(created).max(SignedDuration::ZERO)))),
        ];
        if namespaces {
            row.insert(0, self.namespace.clone());
        }
        row
    }
}

/// What a claim asks for.
fn size(spec: &PersistentVolumeClaimSpec) -> Option<String> {
    Some(spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::set::observation::{Answer, Asking};

    fn set(namespace: &str, name: &str, wanted: i32) -> Observation {
        let claim = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let stateful_set = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": wanted, "selector": {}, "serviceName": name, "volumeClaimTemplates": [claim],
                "template": {"spec": {"containers": [{"name": "pgset", "image": "postgres:17"}]}}}});
        let pod = |ordinal: i32| {
            json!({"metadata": {"name": format!("{name}-{ordinal}")},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        };
        let slice = json!({"addressType": "IPv4", "metadata": {"labels": {"kubernetes.io/service-name": format!("{name}-master")}},
            "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"name": format!("{name}-0")}}]});
        Observation {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            stateful_set: serde_json::from_value(stateful_set).unwrap(),
            pods: (0..wanted).map(|ordinal| serde_json::from_value(pod(ordinal)).unwrap()).collect(),
            endpoint_slices: if wanted > 0 { vec![serde_json::from_value(slice).unwrap()] } else { Vec::new() },
            asking: Asking::Forbidden,
            ..Observation::default()
        }
    }

    #[test]
    fn one_line_a_set_with_the_word_it_rests_on() {
        let now = "2026-01-03T01:00:00Z".parse().unwrap();
        let mut asked = set("b", "orders", 1);
        asked.asking = Asking::Allowed;
        asked.answers.insert("orders-0".to_owned(), Answer::Answered(Box::default()));
        let mut broken = set("b", "pgset", 2);
        broken.pods.pop();
        let view = ListView::new(&[set("a", "pgset", 2), asked, broken, set("c", "idle", 0)]);
        assert_eq!(
            view.text(true, now),
            "\
NAMESPACE  NAME    MEMBERS  PRIMARY   HEALTH     IMAGE        SIZE  AGE
a          pgset   2/2      pgset-0   ready      postgres:17  2Gi   2d1h
b          orders  1/1      orders-0  healthy    postgres:17  2Gi   2d1h
b          pgset   1/2      pgset-0   not ready  postgres:17  2Gi   2d1h
c          idle    0/0      -         stopped    postgres:17  2Gi   2d1h
"
        );
        assert_eq!(view.names(true), "a/pgset\nb/orders\nb/pgset\nc/idle\n");
        assert_eq!(view.names(false), "pgset\norders\npgset\nidle\n");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(
            (&json["items"][1]["word"], &json["items"][0]["word"]),
            (&"postgreSQL".into(), &"kubernetes".into())
        );
    }
}
