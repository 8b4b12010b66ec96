# Sourced inside the lab: the table of services, and how each starts, stops and is asked how it does.

set -u
: "${LAB_PREFIX:=10.77}" "${LAB_SECRET:=lab-secret}"
vm_host=$LAB_PREFIX.0.1     # the machine, as VMs see it; manager.lab to them
api=$LAB_PREFIX.1.2         # where the APIs listen
state=/lab etc=/lab/etc run=/lab/run log=/lab/log
mysql_socket=$run/mysql.sock
export LAB_PREFIX LAB_SECRET

# First the five that the others lean on.
services=(mariadb epmd rabbitmq virtlogd libvirtd
          keystone placement glance-api neutron-server nova-api
          nova-conductor nova-scheduler nova-compute
          neutron-linuxbridge neutron-dhcp neutron-metadata)

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
die() { say "$*" >&2; exit 1; }
known() { [[ " ${services[*]} " == *" $1 "* ]]; }
sql() { mariadb --no-defaults -S "$mysql_socket" -u root -N -B -e "$1"; }

uwsgi_site() {   # port, wsgi script
    echo uwsgi --plugin python3 --http-socket "$api:$1" --wsgi-file "$2" \
        --processes 1 --threads 8 --need-app \
        --buffer-size 65535 --socket-timeout 30 --add-header "Connection:close"
}

# Each of these is the plain foreground process.
serve() {
    local nova="--config-file $etc/nova.conf" neutron="--config-file $etc/neutron.conf"
    [ "$1" = nova-compute ] || nova+=" --config-file $etc/nova-db.conf"
    case $1 in
    mariadb)  exec mariadbd --no-defaults --user=root --datadir=$state/mysql \
                  --socket=$mysql_socket --pid-file=$run/mariadbd.pid --skip-networking \
                  --skip-name-resolve --max-connections=500 --innodb-flush-log-at-trx-commit=0 \
                  --innodb-buffer-pool-size=32M --performance-schema=off \
                  --character-set-server=utf8mb3 --skip-log-bin ;;
    epmd)     exec epmd -address 127.0.0.1 -port 4369 ;;
    rabbitmq) export HOME=$state/rabbitmq ERL_EPMD_ADDRESS=127.0.0.1 \
                  RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME=lab@localhost \
                  RABBITMQ_MNESIA_BASE=$state/rabbitmq RABBITMQ_LOGS=- \
                  RABBITMQ_CONFIG_FILE=$etc/rabbitmq.conf \
                  RABBITMQ_ENABLED_PLUGINS_FILE=$etc/rabbitmq-plugins \
                  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
              exec /usr/lib/rabbitmq/bin/rabbitmq-server ;;
    virtlogd) exec virtlogd --pid-file $run/virtlogd.libvirt.pid ;;
    libvirtd) exec libvirtd --config $etc/libvirtd.conf --pid-file $run/libvirtd.libvirt.pid ;;
    keystone)   export OS_KEYSTONE_CONFIG_DIR=$etc
                exec $(uwsgi_site 5000 /usr/bin/keystone-wsgi-public) ;;
    placement)  export OS_PLACEMENT_CONFIG_DIR=$etc
                exec $(uwsgi_site 8778 /usr/bin/placement-api) ;;
    glance-api) exec glance-api --config-file $etc/glance-api.conf ;;
    neutron-server) exec neutron-server $neutron ;;
    nova-api | nova-conductor | nova-scheduler) exec "$1" $nova ;;
    # Debian's nova-compute package drags in every QEMU, Ceph and iSCSI; its code is in python3-nova.
    nova-compute) exec python3 -c 'import sys; sys.argv[0] = "nova-compute"
from nova.cmd.compute import main; main()' $nova ;;
    neutron-linuxbridge) exec neutron-linuxbridge-agent $neutron ;;
    neutron-dhcp)        exec neutron-dhcp-agent $neutron ;;
    neutron-metadata)    exec neutron-metadata-agent $neutron ;;
    esac
}

# What a service listens on, for people.
address_of() {
    case $1 in
    mariadb) echo "(a socket in the lab)" ;;
    epmd | rabbitmq | virtlogd | libvirtd) echo "(in the lab)" ;;
    keystone) echo "http://$api:5000/v3" ;;
    placement) echo "http://$api:8778" ;;
    glance-api) echo "http://$api:9292" ;;
    neutron-server) echo "http://$api:9696" ;;
    nova-api) echo "http://$api:8774/v2.1" ;;
    neutron-metadata) echo "http://169.254.169.254 (in VMs)" ;;
    *) echo "(message bus)" ;;
    esac
}

# Does it do its work? Those on the message bus have no port: ask what they last reported of
# themselves, counting only what is younger than their process.
answers() {
    case $1 in
    mariadb) sql 'select 1' ;;
    epmd) : <>/dev/tcp/127.0.0.1/4369 ;;
    rabbitmq) : <>/dev/tcp/127.0.0.1/5672 ;;
    virtlogd) [ -S /run/libvirt/virtlogd-sock ] ;;
    libvirtd) timeout 10 virsh -c qemu:///system version ;;
    keystone | placement | glance-api | neutron-server)
        curl -fsS -m 10 -o /dev/null "$(address_of "$1")/" ;;
    nova-api) curl -fsS -m 10 -o /dev/null "http://$api:8774/" &&
              curl -fsS -m 10 -o /dev/null http://127.0.0.1:8775/ ;;
    nova-*) reported "$1" "select max(s.last_seen_up) from nova.services s where s.binary='$1'" ;;
    neutron-*) reported "$1" "select max(a.heartbeat_timestamp) from neutron.agents a
                              where a.binary='$1-agent'" ;;
    esac >/dev/null 2>&1
}
reported() {
    local age
    age=$(sql "select timestampdiff(second, ($2), utc_timestamp())") &&
        [ "$age" -lt 75 ] && [ "$age" -lt $(($(date +%s) - $(stat -c %Y "$run/$1.pid"))) ]
}

# A pid file holds the pid and when that process began, so that no other is taken for it later.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'; }
pid_of() {
    local pid at
    read -r pid at 2>/dev/null <"$run/$1.pid" && [ -n "$at" ] && [ "$(began "$pid")" = "$at" ] &&
        echo "$pid"
}

start() {
    pid_of "$1" >/dev/null && return
    ( export LAB_SERVICE=$1; exec setsid bash -c '. /opt/lab/inside/lib.sh; serve "$LAB_SERVICE"' ) \
        >>"$log/$1.log" 2>&1 </dev/null 3>&- &
    echo "$! $(began $!)" >"$run/$1.pid"
    disown
}

# Each service leads a process group of its own, so its workers go with it.
stop() {
    local pid
    if pid=$(pid_of "$1"); then
        kill -CONT -- "-$pid"
        kill -TERM -- "-$pid"
        for _ in {1..100}; do pgrep -g "$pid" -r D,R,S,T >/dev/null || break; sleep 0.1; done
        kill -KILL -- "-$pid" 2>/dev/null
    fi
    rm -f "$run/$1.pid"
}

# What is wrong with a service: one line, after the last of its log.
complain() {
    tail -n 15 "$log/$1.log" | sed 's/^/    | /' >&2
    die "$1 $2; the last of its log is above, the rest in log/$1.log of the lab's state"
}

await() {   # service, seconds
    local deadline=$((SECONDS + ${2:-180}))
    until answers "$1"; do
        pid_of "$1" >/dev/null || complain "$1" "died"
        [ $SECONDS -lt $deadline ] || complain "$1" "does not answer within ${2:-180} s"
        sleep 0.3
    done
}
