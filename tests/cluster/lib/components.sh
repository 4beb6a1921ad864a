# shellcheck shell=bash
# The components of the cluster without Docker: their certificates, their configuration, their flags, their order.

# One CA for everything. Everyone who talks to the API server from this machine is an administrator: this is a test
# cluster, and the Node authorizer's race would cost a pod 10-15 s now and then.
bare_certificates() {
  [ ! -d "$STATE/pki" ] || return 0
  local new=$STATE/new.pki
  rm -rf "$new"
  mkdir -p "$new"
  (
    cd "$new"
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
    certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
      key "$1"
      openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
      openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
        -extfile <(printf 'subjectAltName=%s\n' "$3") -out "$1.crt"
      rm "$1.csr"
    }
    key ca
    openssl req -x509 -new -key ca.key -days 3650 -subj /CN=pgset-test -out ca.crt
    service=kubernetes.default.svc
    certificate apiserver /CN=kube-apiserver \
      "DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,IP:$API_SERVICE_IP,IP:$NODE_IP"
    certificate kubelet "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP"
    certificate admin /O=system:masters/CN=admin DNS:admin
    certificate aggregator /CN=aggregator DNS:aggregator
    key service-accounts
    openssl ec -in service-accounts.key -pubout -out service-accounts.pub
  ) 2>"$LOGS/pki.log" || die "openssl failed" "its words are in $LOGS/pki.log"
  mv "$new" "$STATE/pki"
}

# filled_in FILE: a configuration with the values that the variables have.
filled_in() {
  sed -e "s|@STATE@|$STATE|g" -e "s|@RUN@|$RUN|g" -e "s|@INSTANCE@|$INSTANCE|g" -e "s|@NODE@|$NODE|g" \
    -e "s|@NODE_IP@|$NODE_IP|g" -e "s|@DNS_IP@|$DNS_IP|g" -e "s|@LOCAL_IP@|$LOCAL_IP|g" -e "s|@POD_CIDR@|$POD_CIDR|g" \
    -e "s|@NODE_POD_CIDR@|$NODE_POD_CIDR|g" -e "s|@PAUSE_IMAGE@|$PAUSE_IMAGE|g" \
    -e "s|@BUSYBOX_IMAGE@|$BUSYBOX_IMAGE|g" -e "s|@API_URL@|$API_URL|g" \
    -e "s|@CA@|$(base64 -w0 "$PKI/ca.crt")|g" -e "s|@ADMIN_CERTIFICATE@|$(base64 -w0 "$PKI/admin.crt")|g" \
    -e "s|@ADMIN_KEY@|$(base64 -w0 "$PKI/admin.key")|g" "$1"
}

bare_configure() {
  local new=$STATE/new.config old=$STATE/config file
  rm -rf "$new"
  mkdir -p "$new"
  chmod 700 "$new"
  mkdir -p "$new/cni" "$new/registries/_default" "$STATE/volumes" "$STATE/cni"
  local DNS_IP=$NODE_IP PKI=$STATE/pki
  for file in "$HERE"/config/*; do filled_in "$file" >"$new/${file##*/}"; done
  mv "$new/cni.conflist" "$new/cni/10-$INSTANCE.conflist"
  mv "$new/hosts.toml" "$new/registries/_default/hosts.toml"
  if ! diff -rq "$new" "$old" >/dev/null 2>&1; then
    # Components started with another configuration would only pretend to be what the files say.
    stop_components
    rm -rf "$old"
    mv "$new" "$old"
  fi
  rm -rf "$new"
  install -m 600 "$old/kubeconfig" "$KUBECONFIG_FILE.new"
  mv "$KUBECONFIG_FILE.new" "$KUBECONFIG_FILE"
}

# run_component NAME: starts it with its flags, unless it runs.
run_component() {
  case $1 in
    etcd)
      launch etcd etcd --name=pgset-test --data-dir="$STATE/etcd" --unsafe-no-fsync \
        --listen-client-urls="http://$LOCAL_IP:2379" --advertise-client-urls="http://$LOCAL_IP:2379" \
        --listen-peer-urls="http://$LOCAL_IP:2380" --initial-advertise-peer-urls="http://$LOCAL_IP:2380" \
        --initial-cluster="pgset-test=http://$LOCAL_IP:2380"
      ;;
    kube-apiserver)
      launch kube-apiserver "$KUBERNETES/kube-apiserver" --etcd-servers="http://$LOCAL_IP:2379" \
        --bind-address="$NODE_IP" --advertise-address="$NODE_IP" --service-cluster-ip-range="$SERVICE_CIDR" \
        --allow-privileged --shutdown-watch-termination-grace-period=1s \
        --tls-cert-file="$STATE/pki/apiserver.crt" --tls-private-key-file="$STATE/pki/apiserver.key" \
        --client-ca-file="$STATE/pki/ca.crt" --authorization-mode=Node,RBAC \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$STATE/pki/service-accounts.pub" \
        --service-account-signing-key-file="$STATE/pki/service-accounts.key" \
        --kubelet-client-certificate="$STATE/pki/admin.crt" --kubelet-client-key="$STATE/pki/admin.key" \
        --kubelet-certificate-authority="$STATE/pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --requestheader-client-ca-file="$STATE/pki/ca.crt" --requestheader-allowed-names=aggregator \
        --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
        --requestheader-username-headers=X-Remote-User --proxy-client-cert-file="$STATE/pki/aggregator.crt" \
        --proxy-client-key-file="$STATE/pki/aggregator.key" \
        --audit-policy-file="$STATE/config/audit-policy.yaml" --audit-log-path="$LOGS/audit.log" \
        --audit-log-maxsize=200 --audit-log-maxbackup=1
      ;;
    kube-controller-manager)
      # Its own throttle would hold its start up for seconds.
      launch kube-controller-manager "$KUBERNETES/kube-controller-manager" --kubeconfig="$KUBECONFIG_FILE" \
        --bind-address="$NODE_IP" --leader-elect=false --use-service-account-credentials \
        --service-account-private-key-file="$STATE/pki/service-accounts.key" --root-ca-file="$STATE/pki/ca.crt" \
        --cluster-signing-cert-file="$STATE/pki/ca.crt" --cluster-signing-key-file="$STATE/pki/ca.key" \
        --allocate-node-cidrs=false --cluster-cidr="$POD_CIDR" --kube-api-qps=200 --kube-api-burst=400
      ;;
    kube-scheduler)
      launch kube-scheduler "$KUBERNETES/kube-scheduler" --kubeconfig="$KUBECONFIG_FILE" --bind-address="$NODE_IP" \
        --leader-elect=false
      ;;
    no-registry) launch no-registry /usr/bin/python3 "$HERE/no_registry.py" "$LOCAL_IP" 5000 "$STATE/" ;;
    containerd) launch containerd containerd --config "$STATE/config/containerd.toml" ;;
    kubelet)
      launch kubelet "$KUBERNETES/kubelet" --config="$STATE/config/kubelet.yaml" --kubeconfig="$KUBECONFIG_FILE" \
        --hostname-override="$NODE" --node-ip="$NODE_IP" --root-dir="$STATE/kubelet"
      ;;
    kube-proxy) launch kube-proxy "$KUBERNETES/kube-proxy" --config="$STATE/config/kube-proxy.yaml" ;;
    coredns) launch coredns "$KUBERNETES/coredns" -conf "$STATE/config/Corefile" ;;
    local-path-provisioner)
      launch local-path-provisioner "$LOCAL_PATH/local-path-provisioner" start --kubeconfig "$KUBECONFIG_FILE" \
        --config "$STATE/config/local-path.json" --namespace local-path-storage --helper-image "$BUSYBOX_IMAGE" \
        --helper-pod-file "$STATE/config/local-path-pod.yaml" \
        --service-account-name local-path-provisioner-service-account
      ;;
    *) die "there is no component \"$1\"" "one of: ${COMPONENTS[*]}" ;;
  esac
}

# component_is_ready NAME: what others may count on.
component_is_ready() {
  case $1 in
    etcd) curl -sf --max-time 2 "http://$LOCAL_IP:2379/health" ;;
    kube-apiserver) api_get /readyz ;;
    containerd) ctr -a "$CONTAINERD_SOCKET" version ;;
    kubelet) node_is_ready ;;
    coredns) curl -sf --max-time 2 "http://$LOCAL_IP:8181/ready" ;;
    *) is_running "$1" ;;
  esac
}

api_get() {
  curl -sf --max-time 5 --cacert "$STATE/pki/ca.crt" --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" "$API_URL$1"
}

node_is_ready() {
  api_get "/api/v1/nodes/$NODE" | python3 -c '
import json, sys
conditions = json.load(sys.stdin)["status"]["conditions"]
sys.exit(not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions))'
}

bare_start_all() {
  local image
  run_component etcd
  run_component no-registry
  run_component containerd
  wait_ready etcd 30 component_is_ready etcd
  run_component kube-apiserver
  wait_ready containerd 30 component_is_ready containerd
  bare_import_images
  wait_ready kube-apiserver 60 component_is_ready kube-apiserver
  run_component kube-controller-manager
  run_component kube-scheduler
  run_component kubelet
  run_component kube-proxy
  run_component coredns
  say "making the StorageClass"
  bare_kubectl apply --server-side --force-conflicts -f "$STATE/config/storage.yaml" >/dev/null
  run_component local-path-provisioner
}

# The other way round, since an API server without etcd takes long to end.
stop_components() {
  local i
  for ((i = ${#COMPONENTS[@]} - 1; i >= 0; i--)); do halt "${COMPONENTS[i]}"; done
}

# bare_await: until a pod can be made and will run.
bare_await() {
  say "waiting for the node"
  wait_ready kubelet 60 component_is_ready kubelet
  wait_ready kube-controller-manager 60 api_get /api/v1/namespaces/default/serviceaccounts/default
  wait_ready coredns 30 component_is_ready coredns
  local name
  for name in "${COMPONENTS[@]}"; do wait_ready "$name" 5 is_running "$name"; done
}

ctr() { command ctr -a "$CONTAINERD_SOCKET" -n k8s.io "$@"; }

bare_import_images() {
  local image present
  present=$(ctr images ls -q)
  for image in $(all_images); do
    bare_import "$(image_name "$image")" "$(image_file "$image")" "$present"
  done
}

# bare_import NAME FILE PRESENT: unless that very file was imported already and is still there.
bare_import() {
  local mark
  mark=$STATE/imported/$(basename "$2")
  if [ -f "$mark" ] && grep -qxF "$1" <<<"$3"; then return; fi
  slowly "importing $1" "$LOGS/import.log" command ctr -a "$CONTAINERD_SOCKET" -n k8s.io images import "$2"
  mkdir -p "$(dirname "$mark")"
  touch "$mark"
}
