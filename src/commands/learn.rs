//! Finding out more about a set that is not healthy: carries out what the inquiry asks for.

use super::ask::Asker;
use crate::cluster::{Cluster, Members, look_at_services, look_at_volumes};
use crate::set::Observation;
use crate::set::inquiry::Question;

/// Carries out these questions, but for those to members, and notes what was learned. Whatever cannot be had is missing
/// evidence and nothing worse.
pub async fn learn(cluster: &Cluster, asker: &Asker, questions: &[Question], seen: &mut Observation) {
    let (set, namespace) = (seen.name.clone(), seen.namespace.clone());
    for question in questions {
        match question {
            Question::Volumes => (seen.volumes, seen.classes) = look_at_volumes(cluster).await,
            Question::Services => seen.services = look_at_services(cluster, &namespace, &set).await,
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

/// The members among these questions.
#[must_use]
pub fn members(questions: &[Question]) -> Vec<String> {
    let member = |question: &Question| match question {
        Question::Member(member) => Some(member.clone()),
        _ => None,
    };
    questions.iter().filter_map(member).collect()
}
