# shellcheck shell=bash
# A cluster that the person running the tests has already. Nothing is done to it but asking whether it is there.

external_kubeconfig() { echo "$PGSET_TEST_KUBECONFIG"; }

external_kubectl() {
  type -P kubectl >/dev/null || die "kubectl is missing" "it comes with the cluster that \`up\` makes, or install it"
  kubectl --kubeconfig "$PGSET_TEST_KUBECONFIG" "$@"
}

external_up() {
  [ -r "$PGSET_TEST_KUBECONFIG" ] || die "PGSET_TEST_KUBECONFIG names $PGSET_TEST_KUBECONFIG, which cannot be read"
  local answer
  answer=$(external_kubectl version --request-timeout=10s 2>&1) ||
    die "the cluster of PGSET_TEST_KUBECONFIG does not answer: $answer" "check it: kubectl --kubeconfig $PGSET_TEST_KUBECONFIG version"
  say "using the cluster of $PGSET_TEST_KUBECONFIG"
}

external_status() { external_kubectl get nodes -o wide; }
external_shell_env() { :; }
external_build() { :; }
external_down() { say "the cluster of PGSET_TEST_KUBECONFIG is left alone"; }
external_clean() { external_down; }

not_ours() {
  die "that cannot be done to the cluster of PGSET_TEST_KUBECONFIG" \
    "unset PGSET_TEST_KUBECONFIG to have a cluster that can be interfered with"
}
external_stop() { not_ours; }
external_kill() { not_ours; }
external_start() { not_ours; }
external_load_image() { not_ours; }
external_audit_log() { not_ours; }
external_logs() { not_ours; }
external_pid() { not_ours; }
