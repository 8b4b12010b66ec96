# What the scripts of the matrix have in common; runs before each, in the image.

# A key that the schedule does not name. Nobody has its private half.
KEY='ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB1R1jP1KaP0M/h3QCE+F0bY72GxCKSbqPCcqVm1x63S builder@example'

# unit NAME LINE...: a unit that starts at boot. It has a section [Install] already.
unit() {
    name=$1
    shift
    printf '%s\n' "$@" '[Install]' 'WantedBy=multi-user.target' >"/etc/systemd/system/$name"
    systemctl enable "$name"
}

# cloud_config LINE: settings of cloud-init that come after all others.
cloud_config() {
    printf '%s\n' "$1" >/etc/cloud/cloud.cfg.d/99-site.cfg
}

# at_first_boot COMMANDS: what cloud-init runs as its last step but one.
at_first_boot() {
    mkdir -p /var/lib/cloud/scripts/per-instance
    printf '#!/bin/sh\n%s\n' "$1" >/var/lib/cloud/scripts/per-instance/site
    chmod 0755 /var/lib/cloud/scripts/per-instance/site
}

# user_without KEY: takes it from the settings of the schedule's user.
user_without() {
    python3 - "$1" <<'PYTHON'
import json, sys
path = "/etc/cloud/cloud.cfg.d/50-image-manager.cfg"
with open(path) as file:
    comment, settings = file.readline(), json.load(file)
user = next(user for user in settings["users"] if user != "default" and user["name"] == "ops")
del user[sys.argv[1]]
with open(path, "w") as file:
    file.write(comment + json.dumps(settings, indent=2) + "\n")
PYTHON
}
