img=$1; shift
qemu-img create -q -f qcow2 -b $img -F qcow2 d.qcow2 512M
: > con
/usr/bin/time -f "%e s wall %U user %S sys" -a -o t timeout 25 qemu-system-x86_64 -nodefaults -no-user-config -display none -machine q35,graphics=off -accel tcg,thread=multi -cpu max -smp 1 -m 256M -drive if=none,id=disk,file=d.qcow2,format=qcow2,cache=unsafe -device virtio-blk-pci,drive=disk,bootindex=0 -netdev user,id=net0,ipv6=off -device virtio-net-pci,netdev=net0,romfile= -device virtio-rng-pci -device virtio-serial-pci -serial file:con "$@" &
p=$!
s=$(date +%s.%N)
seen=
for i in $(seq 200); do sleep 0.1; n=$(wc -l <con); if [ "$n" != "$seen" ]; then q=$(pgrep -P $(pgrep -P $p|head -1)|head -1); q=${q:-$(pgrep -P $p | head -1)}; echo "$(echo "$(date +%s.%N)-$s"|bc) lines $n cpu $(awk '{print $14+$15}' /proc/$(pgrep -f 'qemu-system.*d.qcow2'|tail -1)/stat) $(tail -1 con | cut -c1-80)"; seen=$n; fi; done
wait $p; tail -1 t
