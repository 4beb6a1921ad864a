//! In which order members are stopped and restarted.

/// The numbers of members a set is scaled to, one after another, until none is left: the replicas go first, so that they
/// have everything the primary wrote while they ran, and the primary last. Kubernetes removes the highest numbers, so
/// replicas below the primary can only go together with it: nothing is lost by that, since the primary's data is whole after
/// an orderly shutdown, and they catch up when they are back.
#[must_use]
pub fn stop_steps(members: i32, primary: Option<i32>) -> Vec<u8> {
    match primary.and_then(|primary| u8::try_from(primary + 1).ok()) {
        Some(least) if i32::from(least) < members => vec![least, 0],
        _ => vec![0],
    }
}

/// The members in the order in which they are restarted: replicas, the highest number first, then the primary.
#[must_use]
pub fn restart_order(set: &str, members: i32, primary: &str) -> Vec<String> {
    let all = (0..members).rev().map(|ordinal| format!("{set}-{ordinal}"));
    let (mut order, last): (Vec<String>, Vec<String>) = all.partition(|member| member != primary);
    order.extend(last);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_stop_before_the_primary_where_kubernetes_lets_them() {
        assert_eq!(stop_steps(3, Some(0)), [1, 0]);
        assert_eq!(stop_steps(3, Some(1)), [2, 0]);
        assert_eq!(stop_steps(3, Some(2)), [0]);
        assert_eq!(stop_steps(1, Some(0)), [0]);
        assert_eq!(stop_steps(2, None), [0], "nobody says who is primary");
    }

    #[test]
    fn the_primary_restarts_last_wherever_it_is() {
        assert_eq!(restart_order("pgset", 3, "pgset-0"), ["pgset-2", "pgset-1", "pgset-0"]);
        assert_eq!(restart_order("pgset", 3, "pgset-1"), ["pgset-2", "pgset-0", "pgset-1"]);
    }
}
