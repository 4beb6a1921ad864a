#!/bin/bash
# Labels this pod name=$1 through the API server with the mounted token, in the manner of this version's program:
# kubectl reads the pod and patches its label; pgc reads it and writes it back without the fields it does not know.
set -u
account=/var/run/secrets/kubernetes.io/serviceaccount
version=$(cut -d. -f1,2 <<<"$CCP_VERSION")

# request METHOD PATH TYPE BODY: the answer's status code on the first line, then its body.
request() {
  {
    printf '%s %s HTTP/1.0\r\nHost: kubernetes\r\nAuthorization: Bearer %s\r\n' "$1" "$2" "$(cat $account/token)"
    printf 'Content-Type: %s\r\nContent-Length: %s\r\n\r\n%s' "$3" "${#4}" "$4"
  } | LC_ALL=C openssl s_client -quiet -ign_eof -verify_return_error -CAfile $account/ca.crt \
    -connect "$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT" 2>/dev/null |
    sed -e '1s|^HTTP/1.[01] \([0-9]*\).*|\1|' -e '2,/^\r$/d'
}

say() {
  echo "$*" >&2
  exit 1
}

[ -r $account/token ] || say "there is no token of a service account"
case $version in
  2.[2-9] | 3.* | 4.[0-4]) pgc=true namespace=${CCP_NAMESPACE:?pgc wants CCP_NAMESPACE} ;;
  *) pgc=false namespace=$(cat $account/namespace) ;;
esac
pod=/api/v1/namespaces/$namespace/pods/$HOSTNAME
answer=$(request GET "$pod" application/json "")
[ "${answer%%$'\n'*}" = 200 ] || say "Error from server: pods \"$HOSTNAME\": $answer"
if $pgc; then
  body=${answer#*$'\n'}
  body=$(perl -0pe 's/("labels":\{[^}]*?"name":)"[^"]*"/$1"'"$1"'"/;
    s/"seccompProfile":\{[^}]*\},?//g; s/"fsGroupChangePolicy":"[^"]*",?//g; s/"startupProbe":\{.*?"failureThreshold":\d+\},?//gs' <<<"$body")
  answer=$(request PUT "$pod" application/json "$body")
else
  answer=$(request PATCH "$pod" application/strategic-merge-patch+json '{"metadata":{"labels":{"name":"'"$1"'"}}}')
fi
[ "${answer%%$'\n'*}" = 200 ] || say "Error from server: pods \"$HOSTNAME\": $answer"
echo "pod \"$HOSTNAME\" labeled"
