//! pgset on a real cluster, through the binary, asserting what a person sees.
//!
//! `PGSET_TEST_KUBECONFIG` names any cluster; without it `tests/cluster/cluster.sh up` makes one. Every test works in a
//! namespace of its own and removes it. Tests that disturb the whole cluster (its API server) hold it alone.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and ends")]

mod change;
mod checkout;
mod client;
mod crunchy;
mod faults;
mod faults_access;
mod faults_pods;
mod findings;
mod findings_admission;
mod findings_cluster;
mod findings_containers;
mod findings_images;
mod findings_keys;
mod findings_postgres;
mod findings_scheduling;
mod findings_storage;
mod harness;
mod lifecycle;
mod live;
mod promote;
mod storage_network;
mod storage_volumes;
mod turns;
mod up;
