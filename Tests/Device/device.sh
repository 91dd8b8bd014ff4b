# Runs what device.py puts into the folder of the machine outside, one after the other.
mkdir -p /host
mount -t hostfs none /host -o "$(sed 's/.*device\.host=\([^ ]*\).*/\1/' /proc/cmdline)" || exit 1
for module in net/can/can net/can/can-raw drivers/net/can/dev/can-dev drivers/net/can/vcan; do
  insmod "/usr/lib/modules/$(uname -r)/kernel/$module.ko"
done
ip link add dev vcan0 type vcan
ip link set up vcan0
touch /host/up
next=0
while :; do
  if [ -e /host/$next.sh ]; then
    bash /host/$next.sh >/host/$next.out 2>&1 </dev/null
    echo $? >/host/$next.done
    mv /host/$next.done /host/$next.end
    next=$((next + 1))
  else
    sleep 0.1
  fi
done
