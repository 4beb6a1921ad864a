# shellcheck shell=bash
# The cluster without Docker: one node made of plain processes on this machine.
#
# The node has an address of its own on the loopback interface, and everything listens there or on a loopback address of
# our own. So nothing can be reached from outside, no port of the machine's is taken, and nothing changes when the
# machine's own address does.

NODE=pgset-test
NODE_IP=10.245.0.1
LOCAL_IP=127.245.0.1
POD_CIDR=10.244.0.0/16
NODE_POD_CIDR=10.244.0.0/24
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
API_URL=https://$NODE_IP:6443

RUN=/run/pgset-test
LOGS=$STATE/log
KUBECONFIG_FILE=$STATE/kubeconfig
CONTAINERD_SOCKET=$RUN/containerd.sock

COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler no-registry containerd kubelet kube-proxy coredns
  local-path-provisioner)
# Every port the components listen on, with its address, for saying who has one already.
PORTS=("$LOCAL_IP:2379" "$LOCAL_IP:2380" "$LOCAL_IP:5000" "$LOCAL_IP:8181" "$LOCAL_IP:10249" "$NODE_IP:53" "$NODE_IP:6443"
  "$NODE_IP:10250" "$NODE_IP:10256" "$NODE_IP:10257" "$NODE_IP:10259")

bare_up() {
  if bare_is_well; then
    say "the cluster is up: $KUBECONFIG_FILE"
    return
  fi
  bare_build
  say "starting the cluster"
  mkdir -p "$STATE" "$LOGS" "$RUN"
  echo bare >"$STATE/provider"
  rm -f "$STATE/ready"
  bare_check_ports
  bare_network
  bare_certificates
  bare_configure
  bare_start_all
  bare_await
  bare_fingerprint >"$STATE/ready"
  say "the cluster is up: export KUBECONFIG=$KUBECONFIG_FILE"
}

bare_build() {
  need_root "a cluster without Docker"
  need_packages etcd=etcd-server containerd=containerd runc=runc iptables=iptables ip=iproute2 ss=iproute2 \
    conntrack=conntrack openssl=openssl python3=python3 curl=curl mmdebstrap=mmdebstrap \
    /usr/lib/cni/ptp=containernetworking-plugins /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
  build_programs
  local image
  for image in $(all_images); do build_image "$image"; done
}

bare_fingerprint() { content_key "$HERE"/{cluster.sh,lib/*.sh,config/*} "$KUBERNETES" "$POSTGRES_RECIPE"; }

# Well is: every process runs, the API server is ready, and so is the node.
bare_is_well() {
  local name
  [ -f "$STATE/ready" ] || return 1
  for name in "${COMPONENTS[@]}"; do is_running "$name" || return 1; done
  api_get /readyz >/dev/null 2>&1 && node_is_ready || return 1
  if [ "$(bare_fingerprint)" != "$(cat "$STATE/ready")" ]; then
    say "note: these scripts are not the ones that made this cluster; \`down\` and \`up\` would renew it"
  fi
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

bare_check_ports() {
  local address holder
  for address in "${PORTS[@]}"; do
    holder=$(ss -Hltnp "( src $address or src 0.0.0.0:${address##*:} or src [::]:${address##*:} )" | head -n 1)
    [ -n "$holder" ] || continue
    case $holder in *"pid="*) ;; *) die "port $address is taken by a process outside this machine's view: $holder" ;; esac
    holder=${holder#*users:((\"}
    local program=${holder%%\"*} pid=${holder#*pid=}
    pid=${pid%%,*}
    bare_owns "$pid" || die "port $address, which the cluster needs, is taken by $program (PID $pid)" \
      "end that process, or use another cluster with PGSET_TEST_KUBECONFIG" \
      "it may belong to a cluster made with another PGSET_TEST_STATE: $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-120)"
  done
}

bare_owns() {
  local name
  for name in "${COMPONENTS[@]}"; do
    if is_running "$name" && [ "$(cat "$RUN/$name.pid")" = "$1" ]; then return; fi
  done
  return 1
}

bare_network() {
  [ -f "$STATE/ip_forward" ] || cat /proc/sys/net/ipv4/ip_forward >"$STATE/ip_forward"
  echo 1 >/proc/sys/net/ipv4/ip_forward
  ip address replace "$NODE_IP/32" dev lo
  # What pods say to the world outside bears the machine's address.
  iptables -w -t nat -C POSTROUTING "${MASQUERADE[@]}" 2>/dev/null || iptables -w -t nat -A POSTROUTING "${MASQUERADE[@]}"
}
MASQUERADE=(-s "$POD_CIDR" ! -d "$POD_CIDR" -m comment --comment pgset-test -j MASQUERADE)

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

bare_configure() {
  cat >"$KUBECONFIG_FILE.new" <<E
apiVersion: v1
kind: Config
clusters:
- name: pgset-test
  cluster: {server: "$API_URL", certificate-authority-data: $(base64 -w0 "$STATE/pki/ca.crt")}
users:
- name: admin
  user: {client-certificate-data: $(base64 -w0 "$STATE/pki/admin.crt"), client-key-data: $(base64 -w0 "$STATE/pki/admin.key")}
contexts:
- name: pgset-test
  context: {cluster: pgset-test, user: admin}
current-context: pgset-test
E
  chmod 600 "$KUBECONFIG_FILE.new"
  mv "$KUBECONFIG_FILE.new" "$KUBECONFIG_FILE"
  local file
  mkdir -p "$STATE/config/cni" "$STATE/config/registries/_default" "$STATE/volumes" "$STATE/cni"
  for file in "$HERE"/config/*; do
    sed -e "s|@STATE@|$STATE|g" -e "s|@RUN@|$RUN|g" -e "s|@NODE@|$NODE|g" -e "s|@NODE_IP@|$NODE_IP|g" \
      -e "s|@LOCAL_IP@|$LOCAL_IP|g" -e "s|@POD_CIDR@|$POD_CIDR|g" -e "s|@NODE_POD_CIDR@|$NODE_POD_CIDR|g" \
      -e "s|@PAUSE_IMAGE@|$PAUSE_IMAGE|g" -e "s|@BUSYBOX_IMAGE@|$BUSYBOX_IMAGE|g" \
      "$file" >"$STATE/config/$(basename "$file")"
  done
  mv "$STATE/config/cni.conflist" "$STATE/config/cni/10-pgset-test.conflist"
  mv "$STATE/config/hosts.toml" "$STATE/config/registries/_default/hosts.toml"
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
      launch kube-controller-manager "$KUBERNETES/kube-controller-manager" --kubeconfig="$KUBECONFIG_FILE" \
        --bind-address="$NODE_IP" --leader-elect=false --use-service-account-credentials \
        --service-account-private-key-file="$STATE/pki/service-accounts.key" --root-ca-file="$STATE/pki/ca.crt" \
        --allocate-node-cidrs=false --cluster-cidr="$POD_CIDR"
      ;;
    kube-scheduler)
      launch kube-scheduler "$KUBERNETES/kube-scheduler" --kubeconfig="$KUBECONFIG_FILE" --bind-address="$NODE_IP" \
        --leader-elect=false
      ;;
    no-registry) launch no-registry /usr/bin/python3 "$HERE/no_registry.py" "$LOCAL_IP" 5000 ;;
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

bare_kubectl() { KUBECONFIG=$KUBECONFIG_FILE kubectl "$@"; }

bare_kubeconfig() { echo "$KUBECONFIG_FILE"; }
