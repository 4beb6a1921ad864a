//! `up`: fresh, repeated, and what it leaves behind.

use crate::harness::Namespace;

#[test]
fn without_any_option_a_primary_and_a_streaming_replica_come_up() {
    let space = Namespace::new("fresh");
    let up = space.pgset(&["up"]).expect(0);
    assert!(up.stdout.starts_with(&format!(
        "pgset in namespace {} is healthy: primary pgset-0, replica pgset-1 streaming",
        space.name
    )));
    assert_eq!(space.psql("pgset-0", "select application_name, state from pg_stat_replication"), "pgset-1|streaming");

    let again = space.pgset(&["up"]).expect(0).says(&["nothing to change on pgset"]);
    assert!(again.stdout.contains("is healthy"));
}
