//! Finding out more about a set that is not healthy: carries out what the inquiry asks for.

use std::collections::BTreeSet;

use super::ask::Asker;
use crate::cluster::{Cluster, Members, keys_of, look_at_services, look_at_volumes};
use crate::set::Observation;
use crate::set::findings::lacking_objects;
use crate::set::inquiry::Question;
use crate::set::observation::PodReading;
use crate::set::rollout::died_members;

/// Carries out these questions, but for those to members, and notes what was learned. Whatever cannot be had is missing
/// evidence and nothing worse.
pub async fn learn(cluster: &Cluster, asker: &Asker, questions: &[Question], seen: &mut Observation) {
    let (set, namespace) = (seen.name.clone(), seen.namespace.clone());
    for question in questions {
        match question {
            Question::Volumes => (seen.volumes, seen.classes) = look_at_volumes(cluster).await,
            Question::Services => seen.services = look_at_services(cluster, &namespace, &set).await,
            Question::Keys(kind, name) => look_at_keys(cluster, kind, name, seen).await,
            Question::Log(member) => {
                let members = Members { cluster, namespace: &namespace };
                let mut lines = members.newest_words(member).await.unwrap_or_default();
                lines.extend(asker.log_file(member).await);
                seen.running_logs.insert(member.clone(), lines);
            }
            // Asked together with the others.
            Question::Member(_) => {}
        }
    }
}

/// Reads the last words of every member that is dead now.
pub async fn read_all_last_words(cluster: &Cluster, seen: &mut Observation) {
    read_last_words(cluster, died_members(seen).into_iter().map(|(member, _)| member), seen).await;
}

/// Reads what these members' dead containers said last. A log the node has forgotten, or may not be read, is missing
/// evidence and nothing worse.
pub async fn read_last_words(cluster: &Cluster, dead: impl IntoIterator<Item = String>, seen: &mut Observation) {
    let namespace = seen.namespace.clone();
    let members = Members { cluster, namespace: &namespace };
    let mut missed = BTreeSet::new();
    for member in dead {
        // A container that waits for its restart left its log as the previous one's only once it was restarted.
        let ended = seen.pod(&member).and_then(|pod| pod.container()?.state.as_ref()?.terminated.as_ref()).is_some();
        let words = match members.last_words(&member, !ended).await {
            Ok(words) if !words.is_empty() => Ok(words),
            _ => members.last_words(&member, ended).await,
        };
        seen.logs.insert(member, words.unwrap_or_default());
        missed = lacking_objects(seen);
    }
    // What they missed may be there by now, and then their last words are old news.
    for (kind, name) in missed {
        look_at_keys(cluster, kind, &name, seen).await;
    }
}

async fn look_at_keys(cluster: &Cluster, kind: &str, name: &str, seen: &mut Observation) {
    // Not allowed to look: what was said has to do.
    if let Ok(keys) = keys_of(cluster, &seen.namespace, kind, name).await {
        seen.keys.insert(format!("{kind} {name}"), keys);
    }
}

/// The members among these questions.
#[must_use]
pub fn members(questions: &[Question]) -> Vec<String> {
    let member = |question: &Question| match question {
        Question::Member(member) => Some(member.clone()),
        _ => None,
    };
    questions.iter().filter_map(member).collect()
}
