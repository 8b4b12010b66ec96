PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
INSERT INTO meta VALUES('owner','7ecc16f3-c752-40a1-bd04-594655b8d0fc');
INSERT INTO meta VALUES('outbox','on');
CREATE TABLE build (
    id                 TEXT PRIMARY KEY,
    schedule           TEXT NOT NULL,
    cloud              TEXT NOT NULL,
    state              TEXT NOT NULL,
    verdict            TEXT,
    trigger            TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    started_at         INTEGER,
    finished_at        INTEGER,
    image_id           TEXT,
    image_name         TEXT,
    image_sha512       TEXT,
    image_size         INTEGER,
    image_virtual_size INTEGER,
    server_id          TEXT,
    server_name        TEXT,
    server_flavor      TEXT,
    agent_token_hash   TEXT,
    agent_version      TEXT,
    agent_boot_id      TEXT,
    agent_attached_at  INTEGER,
    removal_complete   INTEGER,
    failure_reason     TEXT,
    failure_stage      TEXT,
    failure_message    TEXT,
    failure_evidence   TEXT
, retry_of TEXT, attempt INTEGER NOT NULL DEFAULT 1, schedule_digest TEXT, artifact_file TEXT, artifact_sha512 TEXT, agent_endpoint TEXT, agent_fingerprint TEXT, taken_up INTEGER NOT NULL DEFAULT 0, agent_key TEXT, agent_address TEXT, definition_digest TEXT, unexplained TEXT, requested_by TEXT NOT NULL DEFAULT '', cancelled_by TEXT NOT NULL DEFAULT '', warnings TEXT) STRICT;
INSERT INTO build VALUES('01a22501-b47c-7524-bef5-a279ff45d335','released','local','succeeded','passed','cli',1795917198463,1795917198466,1795917379123,'image-manager-01a22501-b47c-7524-bef5-a279ff45d335','tiny','e7b58400daa422769302b8f9d14df142082bf367cbbf21e4158cb8832abc961f3204ea409891f2e29249dfbe9149b1c4d08c4dc1fed6f3ce2a6bffae82729c7d',29097984,67108864,'01a22502-3701-768b-9f27-865d5ed2b75e','image-manager-01a22501-b47c-7524-bef5-a279ff45d335','256 MiB memory, 2 CPUs, 512 MiB disk','7b1c6ce1d0aef95f4bb1d23a8dc65017fedbeb9df1bc8e8cf0f4e6b3ec09900d','0.1.0','2543f4ec-a566-4658-bfd1-4fb5bc4a9eeb',1795917325288,1,NULL,NULL,NULL,NULL,NULL,1,'cd99df7f6d39c01550c2f1d988c4d9c2f79852cec4b04ddf5a6ff6a623675066','/var/lib/image-manager/scratch/01a22501-b47c-7524-bef5-a279ff45d335/out/image.qcow2','e7b58400daa422769302b8f9d14df142082bf367cbbf21e4158cb8832abc961f3204ea409891f2e29249dfbe9149b1c4d08c4dc1fed6f3ce2a6bffae82729c7d','10.0.2.2:38333','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'720088d9c33b81cd3f79e4e26fcca52c8ab2bb617b8e7b9b7be3dcc76b2ec9ad','127.0.0.1','38e4fdb94f0220d538b485e1362191fe09c6894de525ba466edaf317b4a165a8',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22504-7e27-73c3-9d60-9163b1250e27','released','local','succeeded','passed','cli',1795917381164,1795917381259,1795917437083,'image-manager-01a22504-7e27-73c3-9d60-9163b1250e27','tiny','7006ee32c0592af1649e8ae478ed26a26c5cfe4b4870627a7fb7ee76f1f126b30d737555dd4e1b70360bdf52b0c3387e0cae6f60a95ce47332adb9a8b410f818',29097984,67108864,'01a22504-9728-77d5-89ce-cfe8a7bf079e','image-manager-01a22504-7e27-73c3-9d60-9163b1250e27','256 MiB memory, 2 CPUs, 512 MiB disk','2ddb98a0f93b695716919f9d279f0a5419bb38af27186871f39472ee53b3a8c2','0.1.0','023b99e6-cdf6-4e26-bad2-d28cfd30df7e',1795917428154,1,NULL,NULL,NULL,NULL,NULL,1,'cd99df7f6d39c01550c2f1d988c4d9c2f79852cec4b04ddf5a6ff6a623675066','/var/lib/image-manager/scratch/01a22504-7e27-73c3-9d60-9163b1250e27/out/image.qcow2','7006ee32c0592af1649e8ae478ed26a26c5cfe4b4870627a7fb7ee76f1f126b30d737555dd4e1b70360bdf52b0c3387e0cae6f60a95ce47332adb9a8b410f818','10.0.2.2:40713','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'41ac8732d7f04d1ba435966949edff510d8620f739e5b5ed0f90043b6675832d','127.0.0.1','38e4fdb94f0220d538b485e1362191fe09c6894de525ba466edaf317b4a165a8',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb','plain','local','succeeded','passed','cli',1795917437452,1795917437471,1795917482964,'image-manager-01a22505-5a0c-72f3-aa3a-c33fa7886efb','image-manager-01a22505-5a0c-72f3-aa3a-c33fa7886efb','1290fd93765fb1f45e898290293da5aa338785aae7795e5445d9b965465b736ed572faaca4ce37809c9294f08ab87561a70997657bad9244c0b3b6d58453eb36',29097984,67108864,'01a22505-8228-772d-a478-77ee734eede2','image-manager-01a22505-5a0c-72f3-aa3a-c33fa7886efb','256 MiB memory, 2 CPUs, 512 MiB disk','886518afa79597f68805e9f1bfc2af0bc5495b86fadd3d8033d24d6127804f39','0.1.0','554ff25c-a089-4b13-9c54-6051c15c0d65',1795917479496,1,NULL,NULL,NULL,NULL,NULL,1,'f350ab0a7b7bd7d9e0ac721af9090e2ea7c75d6780b994936993a27a54582df7','/var/lib/image-manager/scratch/01a22505-5a0c-72f3-aa3a-c33fa7886efb/out/image.qcow2','1290fd93765fb1f45e898290293da5aa338785aae7795e5445d9b965465b736ed572faaca4ce37809c9294f08ab87561a70997657bad9244c0b3b6d58453eb36','10.0.2.2:45399','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'9b71ac5e37605d4e5670c07d5143a811d8efd849d6d47b0b66f129cd5cdce46f','127.0.0.1','d2a46c79a7212bea54369c9b1815277a1d39b393f3f47227b387f2d714baf8a1',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1','tolerant','local','succeeded','passed','cli',1795917483234,1795917483249,1795917501890,'image-manager-01a22506-0ce2-7204-b714-c5b54cae15c1','image-manager-01a22506-0ce2-7204-b714-c5b54cae15c1','baf0eec9a43ab61bd170ec429b7cad639f234f202786ed0882f50cbaeb748ff6abb2f6eaeac38200c33826813866754f1042ef7608cf4b22fdc781d307c55abe',29097984,67108864,'01a22506-14ec-724b-b486-cbec376da4a1','image-manager-01a22506-0ce2-7204-b714-c5b54cae15c1','256 MiB memory, 2 CPUs, 512 MiB disk','2ce6bb223eec65ee051df9979f9b950707b0dbaca707b18edad9eb53aa8c5a9d','0.1.0','01c1d151-cd20-4472-a41c-0990d9003c68',1795917498216,1,NULL,NULL,NULL,NULL,NULL,1,'017b3b50b2d382a927a6159cf8d8a7e632349a9554bf5a6291396cac0b70231c','/var/lib/image-manager/scratch/01a22506-0ce2-7204-b714-c5b54cae15c1/out/image.qcow2','baf0eec9a43ab61bd170ec429b7cad639f234f202786ed0882f50cbaeb748ff6abb2f6eaeac38200c33826813866754f1042ef7608cf4b22fdc781d307c55abe','10.0.2.2:44601','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'da4360c51bf0d412a7d3ea53b2f076417b23128241e725af43ac9664ab2a1669','127.0.0.1','eedf82c6d1c981733b88dc7e1ba09fcfed56778b9c6cd041ce2a2ee2fa923957',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22506-5674-765f-9d82-6f37e9ae8397','sick','local','failed','failed','cli',1795917502071,1795917502093,1795917546039,'image-manager-01a22506-5674-765f-9d82-6f37e9ae8397','image-manager-01a22506-5674-765f-9d82-6f37e9ae8397','bf6342979b71340cb0f5c1a0865e1ca9317386a0ca4b21d8382b51b623d2eb35b61cc65d4ea86357ebc78e9f1b316738b73a86adf355b2c529a53a0226c301d9',29097984,67108864,'01a22506-65e2-7615-8ee9-d387d0b2be5f','image-manager-01a22506-5674-765f-9d82-6f37e9ae8397','256 MiB memory, 2 CPUs, 512 MiB disk','c12abdd0b1eb3d51443758d3530b425453bf80b859dcbcdc3587cb64674099b2','0.1.0','022739b1-408b-4a2e-be76-468190cb556f',1795917538208,1,'check_failed','verifying','required check failed: cloud_init: cloud-init failed in modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))',replace('cloud_init (fail): cloud-init failed in modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))\nobserved: {\n  "datasource": "DataSourceConfigDrive [net,ver=2][source=/dev/vdb]",\n  "disabled": false,\n  "errors": [\n    "modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))"\n  ],\n  "finished": true,\n  "installed": true,\n  "recoverable_errors": [\n    "modules-final: WARNING: Failed to run module scripts_user (scripts in /var/lib/cloud/instance/scripts)",\n    "modules-final: WARNING: Running module scripts_user (<module ''cloudinit.config.cc_scripts_user'' from ''/usr/lib/python3/dist-packages/cloudinit/config/cc_scripts_user.py''>) failed"\n  ],\n  "stage": "",\n  "stage_seconds": {\n    "init": 1.6000000000000014,\n    "init-local": 0.8399999999999999,\n    "modules-config": 1.4700000000000006,\n    "modules-final": 0.7799999999999976\n  },\n  "uptime_seconds": 19.27,\n  "waited_seconds": 3.6079007\n}','\n',char(10)),NULL,1,'8c64058afd45f5c3f986c9d5947ff2b2d0fc3954019d771713ec2154abcc4e43','/var/lib/image-manager/scratch/01a22506-5674-765f-9d82-6f37e9ae8397/out/image.qcow2','bf6342979b71340cb0f5c1a0865e1ca9317386a0ca4b21d8382b51b623d2eb35b61cc65d4ea86357ebc78e9f1b316738b73a86adf355b2c529a53a0226c301d9','10.0.2.2:44429','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'41d418c09b3d1a39ebdbed758855884ffcfb9f908713188f6fa1a92beeb5e106','127.0.0.1','eedf82c6d1c981733b88dc7e1ba09fcfed56778b9c6cd041ce2a2ee2fa923957',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22507-05e1-750b-9c3d-02b221dddb22','hook','local','failed','failed','cli',1795917547045,1795917547127,1795917548244,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'dib_hook_failed','building','element broken: install.d/60-broken failed with exit code 3',replace('dib-run-parts Running /tmp/in_target.d/install.d/60-broken\nconfigure-broken: cannot parse /etc/broken.conf: line 7: unexpected ''}''','\n',char(10)),NULL,1,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,'49429f32ca596d94f006be4ddaca2b13a82841618d2a21f8709d6ada6ebabbb0','element broken: install.d/60-broken failed with exit code 3','root (uid 0)','',NULL);
INSERT INTO build VALUES('01a22507-0bec-7473-867c-7558b23b634b','silent','local','errored','errored','cli',1795917548524,1795917548532,1795917596018,'image-manager-01a22507-0bec-7473-867c-7558b23b634b','image-manager-01a22507-0bec-7473-867c-7558b23b634b','bf73a67f42d51374fb5cd7316dfa67ee001dc9fa696d04db7fa6e4a0b042b067a9e31b073a22008cf9bcf8a1d3fc779adcd2f951742000282e18687d3a5768ba',24379392,67108864,'01a22507-2455-7219-a848-58cba26505b7','image-manager-01a22507-0bec-7473-867c-7558b23b634b','256 MiB memory, 2 CPUs, 512 MiB disk','48f60cdc89bdfecb446eee8765485f7ca0e70c41fcb79be64328067e37348174',NULL,NULL,NULL,NULL,'agent_silent','booting','no agent attached within timeouts.boot = 40s; look: is the element agent-install in the image; does the console show the agent, and what does it say (it obeys only the manager, and the certificate in tls/, with which the image was built); can the server reach the manager''s gateway at 127.0.0.1:33151',replace('last lines of the console:\nSeaBIOS (version 1.16.2-debian-1.16.2-1)\nMachine UUID 01a22507-2455-7219-a848-58cba26505b7\nBooting from Hard Disk...\ntiny: booted at 14.50 s, root of 481 MiB\ntiny: no agent in this image\ntiny: eth0 10.0.2.15, dns 10.0.2.3 at 16.73 s\ntiny: ready at 19.95 s\ntiny: cloud-init done at 28.23 s','\n',char(10)),NULL,1,'91b7f6d9f77ff16489ef754679bdfa26e17820898d20bbb81f1a4594a854684f','/var/lib/image-manager/scratch/01a22507-0bec-7473-867c-7558b23b634b/out/image.qcow2','bf73a67f42d51374fb5cd7316dfa67ee001dc9fa696d04db7fa6e4a0b042b067a9e31b073a22008cf9bcf8a1d3fc779adcd2f951742000282e18687d3a5768ba','10.0.2.2:33151','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,NULL,NULL,'f648dad600e979a3ebbc63a824c7b8225db5aa030410ab9bab62994e256fbec0',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f','inconclusive','local','errored','errored','cli',1795917596564,1795917596614,1795917645908,'image-manager-01a22507-c794-7352-9ab1-a3fb5a3e221f','image-manager-01a22507-c794-7352-9ab1-a3fb5a3e221f','83d806bf8b740fdbc12d4cd7c6fba2d7cd13a378954fc19e6cdff9602bf99a33f9bad904247df949b51b3375bff3ce2956368765a147146bb7afcd9dd2e94241',29097984,67108864,'01a22507-ea0f-7025-bf4c-406697b3ecaf','image-manager-01a22507-c794-7352-9ab1-a3fb5a3e221f','256 MiB memory, 2 CPUs, 512 MiB disk','44555524bcd645b04bffd37bc907a56bb5e1b2ffd0da85a71d96f63ac8daa1e6','0.1.0','49622ff5-6356-409b-912a-6369b442b3fe',1795917624632,1,'check_inconclusive','verifying','required check gave no answer: internet: tcp://nobody.invalid:9 does not answer after 4.3 s: nobody.invalid does not resolve: name not found; nor from the manager''s host: tcp://nobody.invalid:9 does not answer after 11.6 s: nobody.invalid does not resolve: name not found',replace('internet (inconclusive): tcp://nobody.invalid:9 does not answer after 4.3 s: nobody.invalid does not resolve: name not found; nor from the manager''s host: tcp://nobody.invalid:9 does not answer after 11.6 s: nobody.invalid does not resolve: name not found\nobserved: {\n  "from_the_managers_host": {\n    "outcome": "inconclusive",\n    "summary": "nor from the manager''s host: tcp://nobody.invalid:9 does not answer after 11.6 s: nobody.invalid does not resolve: name not found"\n  },\n  "targets": [\n    {\n      "address": null,\n      "error": "nobody.invalid does not resolve: name not found",\n      "milliseconds": 182,\n      "not_asked": false,\n      "status": null,\n      "target": "tcp://nobody.invalid:9",\n      "tries": 3\n    }\n  ],\n  "unreached": [\n    "tcp://nobody.invalid:9"\n  ],\n  "waited_seconds": 4.33733446\n}','\n',char(10)),NULL,1,'bcfe0ff62227b967bf4386312276a4dfc27ec58efe0aff0e769de34c72ca4c7f','/var/lib/image-manager/scratch/01a22507-c794-7352-9ab1-a3fb5a3e221f/out/image.qcow2','83d806bf8b740fdbc12d4cd7c6fba2d7cd13a378954fc19e6cdff9602bf99a33f9bad904247df949b51b3375bff3ce2956368765a147146bb7afcd9dd2e94241','10.0.2.2:44219','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'eed99a3e846d91cb6bb18f8913332082b1961564844d227ef7eb17adc2dc26d6','127.0.0.1','d2a46c79a7212bea54369c9b1815277a1d39b393f3f47227b387f2d714baf8a1',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22508-89e5-76f5-acb6-d066eda5e835','slow','local','cancelled',NULL,'cli',1795917646309,1795917646336,1795917650624,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'cancelled','building','cancelled on request','',NULL,1,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'root (uid 0)','root (uid 0)',NULL);
INSERT INTO build VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8','slow','local','cancelled',NULL,'cli',1795917651893,1795917651901,1795917656031,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'cancelled','building','cancelled on request','',NULL,1,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'root (uid 0)','root (uid 0)',NULL);
INSERT INTO build VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a','full','local','errored','errored','cli',1795917659242,1795917659247,1795917660631,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'scratch_full','building','the disk that the build works on is full',replace('Running hooks from /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/root.d\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/root.d/08-debootstrap\nI: Retrieving InRelease\nI: Base system installed successfully.\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/root.d/09-apt-keyring\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/root.d/50-block-apt-translations\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/root.d/50-build-with-http-cache\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/root.d/75-debian-minimal-baseinstall\nRunning hooks from /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/extra-data.d\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/extra-data.d/10-create-pkg-map-dir\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/extra-data.d/20-manifest-dir\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/extra-data.d/99-enable-install-types\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/hooks/extra-data.d/99-squash-package-install\ndib-run-parts Running /tmp/in_target.d/pre-install.d/00-disable-apt-recommends\ndib-run-parts Running /tmp/in_target.d/pre-install.d/01-install-bin\ndib-run-parts Running /tmp/in_target.d/pre-install.d/04-dib-init-system\ndib-run-parts Running /tmp/in_target.d/pre-install.d/10-package-installs\ndib-run-parts Running /tmp/in_target.d/pre-install.d/99-apt-get-update\nGet:1 http://mirror.example/debian bookworm InRelease [151 kB]\ndib-run-parts Running /tmp/in_target.d/install.d/01-package-installs\nReading package lists...\ndib-run-parts Running /tmp/in_target.d/install.d/10-debian-networking\ndib-run-parts Running /tmp/in_target.d/install.d/12-debian-locale-gen\ndib-run-parts Running /tmp/in_target.d/install.d/20-install-init-scripts\ndib-run-parts Running /tmp/in_target.d/install.d/99-package-uninstalls\ndib-run-parts Running /tmp/in_target.d/post-install.d/00-package-installs\ndib-run-parts Running /tmp/in_target.d/post-install.d/10-enable-init-scripts\ndib-run-parts Running /tmp/in_target.d/post-install.d/95-package-uninstalls\nCalculating image size (this may take a minute)...\ncp: error writing ''/var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a/tmp-eece64abe31a/dib_build.HgfhSg58/mnt/usr/lib/x86_64-linux-gnu/libc.so.6'': No space left on device','\n',char(10)),NULL,1,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'root (uid 0)','',NULL);
INSERT INTO build VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef','full','local','errored','errored','retry',1795917671325,1795917671432,1795917672839,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'scratch_full','building','the disk that the build works on is full',replace('Running hooks from /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/root.d\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/root.d/08-debootstrap\nI: Retrieving InRelease\nI: Base system installed successfully.\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/root.d/09-apt-keyring\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/root.d/50-block-apt-translations\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/root.d/50-build-with-http-cache\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/root.d/75-debian-minimal-baseinstall\nRunning hooks from /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/extra-data.d\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/extra-data.d/10-create-pkg-map-dir\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/extra-data.d/20-manifest-dir\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/extra-data.d/99-enable-install-types\ndib-run-parts Running /var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/hooks/extra-data.d/99-squash-package-install\ndib-run-parts Running /tmp/in_target.d/pre-install.d/00-disable-apt-recommends\ndib-run-parts Running /tmp/in_target.d/pre-install.d/01-install-bin\ndib-run-parts Running /tmp/in_target.d/pre-install.d/04-dib-init-system\ndib-run-parts Running /tmp/in_target.d/pre-install.d/10-package-installs\ndib-run-parts Running /tmp/in_target.d/pre-install.d/99-apt-get-update\nGet:1 http://mirror.example/debian bookworm InRelease [151 kB]\ndib-run-parts Running /tmp/in_target.d/install.d/01-package-installs\nReading package lists...\ndib-run-parts Running /tmp/in_target.d/install.d/10-debian-networking\ndib-run-parts Running /tmp/in_target.d/install.d/12-debian-locale-gen\ndib-run-parts Running /tmp/in_target.d/install.d/20-install-init-scripts\ndib-run-parts Running /tmp/in_target.d/install.d/99-package-uninstalls\ndib-run-parts Running /tmp/in_target.d/post-install.d/00-package-installs\ndib-run-parts Running /tmp/in_target.d/post-install.d/10-enable-init-scripts\ndib-run-parts Running /tmp/in_target.d/post-install.d/95-package-uninstalls\nCalculating image size (this may take a minute)...\ncp: error writing ''/var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef/tmp-7a22514ca5ef/dib_build.MiAaiVZm/mnt/usr/lib/x86_64-linux-gnu/libc.so.6'': No space left on device','\n',char(10)),'01a22508-bc69-77fd-bdcf-eece64abe31a',2,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'retry','',NULL);
INSERT INTO build VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e','slow','local','errored','errored','cli',1795917673492,1795917673502,1795917677999,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'interrupted','building','the manager was stopped or killed while the build was building, and it is not known what was built; trigger it again','',NULL,1,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'root (uid 0)','',NULL);
INSERT INTO build VALUES('01a22509-08bf-7694-94b9-93c89f52d61b','hanging','local','errored','errored','cli',1795917678784,1795917678787,1795917713503,'image-manager-01a22509-08bf-7694-94b9-93c89f52d61b','image-manager-01a22509-08bf-7694-94b9-93c89f52d61b','90ee102d83cd9d1ea7e42b28514aa5d1aaf8163941ca393631c29922b55977f5b1b7cb12dc79ca01e6e51a86f4005c46291f3f8a34c2e4ca5c532b483a9534d9',29097984,67108864,'01a22509-1a7f-72aa-823c-e9cbd86fef4e','image-manager-01a22509-08bf-7694-94b9-93c89f52d61b','256 MiB memory, 2 CPUs, 512 MiB disk','2ede0b8ec71793fd9dd07ef58f05238f8501ce530bbca0345b8d671e09641863','0.1.0','145cb2a3-f603-4c15-8ac8-f8c37113ad07',1795917708702,NULL,'interrupted','verifying','the manager was stopped or killed while the build was verifying, and what it was doing cannot be gone on with; trigger it again','',NULL,1,'bc221917a7acea523d8254237e73925c7444baaf9185b34b034c0ea42653bf47','/var/lib/image-manager/scratch/01a22509-08bf-7694-94b9-93c89f52d61b/out/image.qcow2','90ee102d83cd9d1ea7e42b28514aa5d1aaf8163941ca393631c29922b55977f5b1b7cb12dc79ca01e6e51a86f4005c46291f3f8a34c2e4ca5c532b483a9534d9','10.0.2.2:36687','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'ffa1e5e96474b3e42e0f07a8f0aa7fce59f6584de73baae8825adafbce6c262b','127.0.0.1','b0b731171de0e302a1e5b13775e380e189fb65b9cff7c6d445ccdb9d568804e0',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
INSERT INTO build VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c','released','local','succeeded','passed','cli',1795917717647,1795917717667,1795917738601,'image-manager-01a22509-a050-71d1-91d8-e6bdf873e13c','tiny','f94aa25ac8ad6d4ad3c97841be633ad852cb41150f2b5420bbedc48a7838766bef24979d248e15bbecc9c07722d380d352aa5b88f1ad6953008f101373d433a9',29097984,67108864,'01a22509-afe1-704f-9f29-1f42d9be9495','image-manager-01a22509-a050-71d1-91d8-e6bdf873e13c','256 MiB memory, 2 CPUs, 512 MiB disk','eac9817cf64c1e5d2e5958190cbb58636e486e9dee1d0287147a806f9d70a335','0.1.0','2b505b58-59e2-4571-b785-ab281be3aef0',1795917734988,1,NULL,NULL,NULL,NULL,NULL,1,'cd99df7f6d39c01550c2f1d988c4d9c2f79852cec4b04ddf5a6ff6a623675066','/var/lib/image-manager/scratch/01a22509-a050-71d1-91d8-e6bdf873e13c/out/image.qcow2','f94aa25ac8ad6d4ad3c97841be633ad852cb41150f2b5420bbedc48a7838766bef24979d248e15bbecc9c07722d380d352aa5b88f1ad6953008f101373d433a9','10.0.2.2:42627','952ed5debff29430ab9a1daf783ca5d1e5eff3fc5f0a5c5669e37fd5f2dd9be9',0,'ff686fa27af85e7d620b19c07b0ff2e13bf4f8557d877a0b011560c01eb3e038','127.0.0.1','38e4fdb94f0220d538b485e1362191fe09c6894de525ba466edaf317b4a165a8',NULL,'root (uid 0)','','it was not verified that the image holds what was put into it: it has neither a dpkg nor an rpm database');
CREATE TABLE stage (
    build_id    TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    name        TEXT NOT NULL,
    state       TEXT NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    detail      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO stage VALUES('01a22501-b47c-7524-bef5-a279ff45d335',0,'building','done',1795917198466,1795917231151,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22501-b47c-7524-bef5-a279ff45d335',1,'uploading','done',1795917231151,1795917231851,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22501-b47c-7524-bef5-a279ff45d335');
INSERT INTO stage VALUES('01a22501-b47c-7524-bef5-a279ff45d335',2,'booting','done',1795917231851,1795917328151,'agent 0.1.0 attached from 127.0.0.1 after 96.3 s, 70.6 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22501-b47c-7524-bef5-a279ff45d335',3,'verifying','done',1795917328151,1795917378722,'4 of 4 checks passed');
INSERT INTO stage VALUES('01a22501-b47c-7524-bef5-a279ff45d335',4,'publishing','done',1795917378722,1795917378817,'tiny is /var/lib/image-manager/images/published/tiny.qcow2');
INSERT INTO stage VALUES('01a22501-b47c-7524-bef5-a279ff45d335',5,'cleaning_up','done',1795917378817,1795917379123,'everything was taken away');
INSERT INTO stage VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',0,'building','done',1795917381259,1795917387028,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',1,'uploading','done',1795917387028,1795917387552,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22504-7e27-73c3-9d60-9163b1250e27');
INSERT INTO stage VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',2,'booting','done',1795917387552,1795917428756,'agent 0.1.0 attached from 127.0.0.1 after 41.2 s, 21.9 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',3,'verifying','done',1795917428756,1795917436679,'4 of 4 checks passed');
INSERT INTO stage VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',4,'publishing','done',1795917436679,1795917436728,'tiny is /var/lib/image-manager/images/published/tiny.qcow2');
INSERT INTO stage VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',5,'cleaning_up','done',1795917436728,1795917437083,'everything was taken away');
INSERT INTO stage VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',0,'building','done',1795917437471,1795917445552,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',1,'uploading','done',1795917445552,1795917447554,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22505-5a0c-72f3-aa3a-c33fa7886efb');
INSERT INTO stage VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',2,'booting','done',1795917447554,1795917479523,'agent 0.1.0 attached from 127.0.0.1 after 31.8 s, 12.9 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',3,'verifying','done',1795917479523,1795917482637,'4 of 4 checks passed');
INSERT INTO stage VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',4,'publishing','skipped',NULL,NULL,'the schedule publishes nothing');
INSERT INTO stage VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',5,'cleaning_up','done',1795917482637,1795917482964,'everything was taken away');
INSERT INTO stage VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',0,'building','done',1795917483249,1795917484846,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',1,'uploading','done',1795917484846,1795917485279,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22506-0ce2-7204-b714-c5b54cae15c1');
INSERT INTO stage VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',2,'booting','done',1795917485279,1795917498367,'agent 0.1.0 attached from 127.0.0.1 after 13.1 s, 7.4 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',3,'verifying','done',1795917498367,1795917501627,'0 of 1 checks passed');
INSERT INTO stage VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',4,'publishing','skipped',NULL,NULL,'the schedule publishes nothing');
INSERT INTO stage VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',5,'cleaning_up','done',1795917501627,1795917501890,'everything was taken away');
INSERT INTO stage VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',0,'building','done',1795917502093,1795917504962,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',1,'uploading','done',1795917504962,1795917505994,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22506-5674-765f-9d82-6f37e9ae8397');
INSERT INTO stage VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',2,'booting','done',1795917505994,1795917538664,'agent 0.1.0 attached from 127.0.0.1 after 32.6 s, 12.9 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',3,'verifying','failed',1795917538664,1795917545286,'required check failed: cloud_init: cloud-init failed in modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))');
INSERT INTO stage VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',5,'cleaning_up','done',1795917545286,1795917546039,'everything was taken away');
INSERT INTO stage VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',0,'building','failed',1795917547127,1795917547889,'element broken: install.d/60-broken failed with exit code 3');
INSERT INTO stage VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',1,'uploading','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',2,'booting','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',3,'verifying','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',5,'cleaning_up','done',1795917547889,1795917548244,'everything was taken away');
INSERT INTO stage VALUES('01a22507-0bec-7473-867c-7558b23b634b',0,'building','done',1795917548532,1795917554224,'23.25 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22507-0bec-7473-867c-7558b23b634b',1,'uploading','done',1795917554224,1795917554729,'23.25 MiB (a disk of 64.00 MiB) as image-manager-01a22507-0bec-7473-867c-7558b23b634b');
INSERT INTO stage VALUES('01a22507-0bec-7473-867c-7558b23b634b',2,'booting','failed',1795917554729,1795917594747,'no agent attached within timeouts.boot = 40s; look: is the element agent-install in the image; does the console show the agent, and what does it say (it obeys only the manager, and the certificate in tls/, with which the image was built); can the server reach the manager''s gateway at 127.0.0.1:33151');
INSERT INTO stage VALUES('01a22507-0bec-7473-867c-7558b23b634b',3,'verifying','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22507-0bec-7473-867c-7558b23b634b',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22507-0bec-7473-867c-7558b23b634b',5,'cleaning_up','done',1795917594747,1795917596018,'everything was taken away');
INSERT INTO stage VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',0,'building','done',1795917596614,1795917603746,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',1,'uploading','done',1795917603746,1795917605132,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22507-c794-7352-9ab1-a3fb5a3e221f');
INSERT INTO stage VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',2,'booting','done',1795917605132,1795917625097,'agent 0.1.0 attached from 127.0.0.1 after 19.9 s, 8.8 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',3,'verifying','failed',1795917625097,1795917645172,'required check gave no answer: internet: tcp://nobody.invalid:9 does not answer after 4.3 s: nobody.invalid does not resolve: name not found; nor from the manager''s host: tcp://nobody.invalid:9 does not answer after 11.6 s: nobody.invalid does not resolve: name not found');
INSERT INTO stage VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',5,'cleaning_up','done',1795917645172,1795917645908,'everything was taken away');
INSERT INTO stage VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',0,'building','failed',1795917646336,1795917649809,'cancelled on request');
INSERT INTO stage VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',1,'uploading','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',2,'booting','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',3,'verifying','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',5,'cleaning_up','done',1795917649809,1795917650624,'everything was taken away');
INSERT INTO stage VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',0,'building','failed',1795917651901,1795917655783,'cancelled on request');
INSERT INTO stage VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',1,'uploading','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',2,'booting','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',3,'verifying','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',5,'cleaning_up','done',1795917655783,1795917656031,'everything was taken away');
INSERT INTO stage VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',0,'building','failed',1795917659247,1795917660363,'the disk that the build works on is full');
INSERT INTO stage VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',1,'uploading','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',2,'booting','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',3,'verifying','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',5,'cleaning_up','done',1795917660363,1795917660631,'everything was taken away');
INSERT INTO stage VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',0,'building','failed',1795917671432,1795917672531,'the disk that the build works on is full');
INSERT INTO stage VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',1,'uploading','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',2,'booting','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',3,'verifying','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',5,'cleaning_up','done',1795917672531,1795917672839,'everything was taken away');
INSERT INTO stage VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',0,'building','failed',1795917673502,1795917677527,'interrupted');
INSERT INTO stage VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',1,'uploading','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',2,'booting','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',3,'verifying','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',5,'cleaning_up','done',1795917677527,1795917677999,'everything was taken away');
INSERT INTO stage VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',0,'building','done',1795917678787,1795917682346,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',1,'uploading','done',1795917682346,1795917683253,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22509-08bf-7694-94b9-93c89f52d61b');
INSERT INTO stage VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',2,'booting','done',1795917683253,1795917709328,'agent 0.1.0 attached from 127.0.0.1 after 26.0 s, 12.9 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',3,'verifying','failed',1795917709328,1795917712830,'interrupted');
INSERT INTO stage VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',4,'publishing','skipped',NULL,NULL,'');
INSERT INTO stage VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',5,'cleaning_up','done',1795917712830,1795917713503,'everything was taken away');
INSERT INTO stage VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',0,'building','done',1795917717667,1795917720455,'27.75 MiB from tiny; WARNING: packaged files not verified: it has neither a dpkg nor an rpm database');
INSERT INTO stage VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',1,'uploading','done',1795917720455,1795917721550,'27.75 MiB (a disk of 64.00 MiB) as image-manager-01a22509-a050-71d1-91d8-e6bdf873e13c');
INSERT INTO stage VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',2,'booting','done',1795917721550,1795917735060,'agent 0.1.0 attached from 127.0.0.1 after 13.5 s, 5.7 s after its kernel started (Image Manager''s tiny test image)');
INSERT INTO stage VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',3,'verifying','done',1795917735060,1795917738444,'4 of 4 checks passed');
INSERT INTO stage VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',4,'publishing','done',1795917738444,1795917738509,'tiny is /var/lib/image-manager/images/published/tiny.qcow2; removed tiny.20261129T015618Z');
INSERT INTO stage VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',5,'cleaning_up','done',1795917738509,1795917738601,'everything was taken away');
CREATE TABLE check_result (
    build_id     TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    name         TEXT NOT NULL,
    outcome      TEXT,
    required     INTEGER NOT NULL,
    duration_ms  INTEGER,
    summary      TEXT NOT NULL DEFAULT '',
    observations TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO check_result VALUES('01a22501-b47c-7524-bef5-a279ff45d335',0,'disk','pass',1,21683,'472.0 MiB of 481.9 MiB free on ext4, 1 MiB written in 14887 ms','{"device":{"behind":null,"below":[],"bytes":511705088,"disk":"vda","disk_bytes":536870912,"end_bytes":536870912,"file_system_bytes":511705088,"name":"vda1"},"disks":[{"device":"/dev/vda1","file_system":"ext4","free_bytes":494907392,"mount":"/","total_bytes":505331712}],"memory":{"available_bytes":194220032,"total_bytes":223662080},"root":{"file_system":"ext4","free_bytes":494907392,"free_inodes":7779,"inodes":8192,"options":"rw,noatime,rw","read_only":false,"source":"/dev/vda1","total_bytes":505331712},"waited_seconds":18.54162854,"write_milliseconds":14887.39624}');
INSERT INTO check_result VALUES('01a22501-b47c-7524-bef5-a279ff45d335',1,'dns','pass',1,48851,'mirror.example is 203.0.113.80','{"baked":false,"names":[{"addresses":["203.0.113.80"],"error":"","exit_code":0,"milliseconds":2744,"name":"mirror.example","tries":1}],"nameservers":["10.0.2.3"],"unresolved":[],"waited_seconds":48.84926928}');
INSERT INTO check_result VALUES('01a22501-b47c-7524-bef5-a279ff45d335',2,'internet','pass',1,48923,'all 2 targets answer','{"targets":[{"address":"203.0.113.80:80","error":"","milliseconds":2452,"not_asked":false,"status":404,"target":"http://mirror.example/debian","tries":1},{"address":"203.0.113.80:80","error":"","milliseconds":2078,"not_asked":false,"status":404,"target":"http://mirror.example/debian-security","tries":1}],"unreached":[],"waited_seconds":48.92154856}');
INSERT INTO check_result VALUES('01a22501-b47c-7524-bef5-a279ff45d335',3,'cloud_init','pass',1,46006,'cloud-init finished with DataSourceConfigDrive [net,ver=2][source=/dev/vdb]','{"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]","disabled":false,"errors":[],"finished":true,"installed":true,"recoverable_errors":[],"stage":"","stage_seconds":{"init":12.760000000000005,"init-local":7.290000000000006,"modules-config":10.25,"modules-final":10.289999999999992},"uptime_seconds":124.67,"waited_seconds":45.79297994}');
INSERT INTO check_result VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',0,'disk','pass',1,1941,'472.0 MiB of 481.9 MiB free on ext4, 1 MiB written in 1538 ms','{"device":{"behind":null,"below":[],"bytes":511705088,"disk":"vda","disk_bytes":536870912,"end_bytes":536870912,"file_system_bytes":511705088,"name":"vda1"},"disks":[{"device":"/dev/vda1","file_system":"ext4","free_bytes":494907392,"mount":"/","total_bytes":505331712}],"memory":{"available_bytes":194187264,"total_bytes":223662080},"root":{"file_system":"ext4","free_bytes":494911488,"free_inodes":7780,"inodes":8192,"options":"rw,noatime,rw","read_only":false,"source":"/dev/vda1","total_bytes":505331712},"waited_seconds":1.60925822,"write_milliseconds":1538.4129199999998}');
INSERT INTO check_result VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',1,'dns','pass',1,6853,'mirror.example is 203.0.113.80','{"baked":false,"names":[{"addresses":["203.0.113.80"],"error":"","exit_code":0,"milliseconds":797,"name":"mirror.example","tries":1}],"nameservers":["10.0.2.3"],"unresolved":[],"waited_seconds":6.77496222}');
INSERT INTO check_result VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',2,'internet','pass',1,7376,'all 2 targets answer','{"targets":[{"address":"203.0.113.80:80","error":"","milliseconds":1395,"not_asked":false,"status":404,"target":"http://mirror.example/debian","tries":1},{"address":"203.0.113.80:80","error":"","milliseconds":1326,"not_asked":false,"status":404,"target":"http://mirror.example/debian-security","tries":1}],"unreached":[],"waited_seconds":7.3447731}');
INSERT INTO check_result VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',3,'cloud_init','pass',1,6505,'cloud-init finished with DataSourceConfigDrive [net,ver=2][source=/dev/vdb]','{"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]","disabled":false,"errors":[],"finished":true,"installed":true,"recoverable_errors":[],"stage":"","stage_seconds":{"init":1.1099999999999994,"init-local":1.7200000000000024,"modules-config":1.0199999999999996,"modules-final":1.2300000000000004},"uptime_seconds":29.07,"waited_seconds":6.08301213}');
INSERT INTO check_result VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',0,'disk','pass',1,519,'472.0 MiB of 481.9 MiB free on ext4, 1 MiB written in 342 ms','{"device":{"behind":null,"below":[],"bytes":511705088,"disk":"vda","disk_bytes":536870912,"end_bytes":536870912,"file_system_bytes":511705088,"name":"vda1"},"disks":[{"device":"/dev/vda1","file_system":"ext4","free_bytes":494907392,"mount":"/","total_bytes":505331712}],"memory":{"available_bytes":193961984,"total_bytes":223662080},"root":{"file_system":"ext4","free_bytes":494911488,"free_inodes":7780,"inodes":8192,"options":"rw,noatime,rw","read_only":false,"source":"/dev/vda1","total_bytes":505331712},"waited_seconds":0.41656895,"write_milliseconds":342.42699999999996}');
INSERT INTO check_result VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',1,'dns','pass',1,2791,'mirror.example is 203.0.113.80','{"baked":false,"names":[{"addresses":["203.0.113.80"],"error":"","exit_code":0,"milliseconds":172,"name":"mirror.example","tries":1}],"nameservers":["10.0.2.3"],"unresolved":[],"waited_seconds":2.7798603699999997}');
INSERT INTO check_result VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',2,'internet','pass',1,2909,'all 2 targets answer','{"targets":[{"address":"203.0.113.80:80","error":"","milliseconds":279,"not_asked":false,"status":404,"target":"http://mirror.example/debian","tries":1},{"address":"203.0.113.80:80","error":"","milliseconds":242,"not_asked":false,"status":404,"target":"http://mirror.example/debian-security","tries":1}],"unreached":[],"waited_seconds":2.90781298}');
INSERT INTO check_result VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',3,'cloud_init','pass',1,2704,'cloud-init finished with DataSourceConfigDrive [net,ver=2][source=/dev/vdb]','{"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]","disabled":false,"errors":[],"finished":true,"installed":true,"recoverable_errors":[],"stage":"","stage_seconds":{"init":0.8200000000000003,"init-local":1.1099999999999994,"modules-config":0.6600000000000001,"modules-final":0.6099999999999994},"uptime_seconds":15.76,"waited_seconds":2.65910346}');
INSERT INTO check_result VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',0,'cloud_init','fail',0,3101,'cloud-init failed in modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))','{"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]","disabled":false,"errors":["modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))"],"finished":true,"installed":true,"recoverable_errors":["modules-final: WARNING: Failed to run module scripts_user (scripts in /var/lib/cloud/instance/scripts)","modules-final: WARNING: Running module scripts_user (<module ''cloudinit.config.cc_scripts_user'' from ''/usr/lib/python3/dist-packages/cloudinit/config/cc_scripts_user.py''>) failed"],"stage":"","stage_seconds":{"init":0.5900000000000007,"init-local":0.6100000000000003,"modules-config":0.7400000000000002,"modules-final":0.7199999999999989},"uptime_seconds":10.91,"waited_seconds":3.08188917}');
INSERT INTO check_result VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',0,'disk','pass',1,979,'472.0 MiB of 481.9 MiB free on ext4, 1 MiB written in 579 ms','{"device":{"behind":null,"below":[],"bytes":511705088,"disk":"vda","disk_bytes":536870912,"end_bytes":536870912,"file_system_bytes":511705088,"name":"vda1"},"disks":[{"device":"/dev/vda1","file_system":"ext4","free_bytes":494907392,"mount":"/","total_bytes":505331712}],"memory":{"available_bytes":193536000,"total_bytes":223662080},"root":{"file_system":"ext4","free_bytes":494911488,"free_inodes":7780,"inodes":8192,"options":"rw,noatime,rw","read_only":false,"source":"/dev/vda1","total_bytes":505331712},"waited_seconds":0.65014698,"write_milliseconds":579.73429}');
INSERT INTO check_result VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',1,'dns','pass',1,5136,'mirror.example is 203.0.113.80','{"baked":false,"names":[{"addresses":["203.0.113.80"],"error":"","exit_code":0,"milliseconds":1566,"name":"mirror.example","tries":1}],"nameservers":["10.0.2.3"],"unresolved":[],"waited_seconds":5.13459898}');
INSERT INTO check_result VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',2,'internet','pass',1,5760,'all 2 targets answer','{"targets":[{"address":"203.0.113.80:80","error":"","milliseconds":1672,"not_asked":false,"status":404,"target":"http://mirror.example/debian","tries":1},{"address":"203.0.113.80:80","error":"","milliseconds":1598,"not_asked":false,"status":404,"target":"http://mirror.example/debian-security","tries":1}],"unreached":[],"waited_seconds":5.75525736}');
INSERT INTO check_result VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',3,'cloud_init','fail',1,3899,'cloud-init failed in modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))','{"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]","disabled":false,"errors":["modules-final: (''scripts_user'', RuntimeError(''Runparts: 1 failures (part-001) in 1 attempted commands''))"],"finished":true,"installed":true,"recoverable_errors":["modules-final: WARNING: Failed to run module scripts_user (scripts in /var/lib/cloud/instance/scripts)","modules-final: WARNING: Running module scripts_user (<module ''cloudinit.config.cc_scripts_user'' from ''/usr/lib/python3/dist-packages/cloudinit/config/cc_scripts_user.py''>) failed"],"stage":"","stage_seconds":{"init":1.6000000000000014,"init-local":0.8399999999999999,"modules-config":1.4700000000000006,"modules-final":0.7799999999999976},"uptime_seconds":19.27,"waited_seconds":3.6079007}');
INSERT INTO check_result VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',0,'disk',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-0bec-7473-867c-7558b23b634b',0,'disk',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-0bec-7473-867c-7558b23b634b',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-0bec-7473-867c-7558b23b634b',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-0bec-7473-867c-7558b23b634b',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',0,'internet','inconclusive',1,4354,'tcp://nobody.invalid:9 does not answer after 4.3 s: nobody.invalid does not resolve: name not found; nor from the manager''s host: tcp://nobody.invalid:9 does not answer after 11.6 s: nobody.invalid does not resolve: name not found','{"from_the_managers_host":{"outcome":"inconclusive","summary":"nor from the manager''s host: tcp://nobody.invalid:9 does not answer after 11.6 s: nobody.invalid does not resolve: name not found"},"targets":[{"address":null,"error":"nobody.invalid does not resolve: name not found","milliseconds":182,"not_asked":false,"status":null,"target":"tcp://nobody.invalid:9","tries":3}],"unreached":["tcp://nobody.invalid:9"],"waited_seconds":4.33733446}');
INSERT INTO check_result VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',0,'disk',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-89e5-76f5-acb6-d066eda5e835',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',0,'disk',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-9fb4-7387-bd1e-7fb226d5d0b8',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',0,'disk',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-bc69-77fd-bdcf-eece64abe31a',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',0,'disk',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-eb9d-701c-8000-7a22514ca5ef',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',0,'disk',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22508-f414-77fd-bcb1-9a142a8b589e',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',0,'disk','pass',1,199,'472.0 MiB of 481.9 MiB free on ext4, 1 MiB written in 137 ms','{"cloud_init_is_yet_to_grow":true,"device":{"behind":null,"below":[],"bytes":511705088,"disk":"vda","disk_bytes":536870912,"end_bytes":536870912,"file_system_bytes":511705088,"name":"vda1"},"disks":[{"device":"/dev/vda1","file_system":"ext4","free_bytes":494911488,"mount":"/","total_bytes":505331712}],"memory":{"available_bytes":193970176,"total_bytes":223662080},"root":{"file_system":"ext4","free_bytes":494911488,"free_inodes":7780,"inodes":8192,"options":"rw,noatime,rw","read_only":false,"source":"/dev/vda1","total_bytes":505331712},"waited_seconds":0.16915433,"write_milliseconds":137.97726}');
INSERT INTO check_result VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',1,'dns',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',2,'internet',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',3,'cloud_init',NULL,1,NULL,'','{}');
INSERT INTO check_result VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',0,'disk','pass',1,411,'472.0 MiB of 481.9 MiB free on ext4, 1 MiB written in 280 ms','{"cloud_init_is_yet_to_grow":true,"device":{"behind":null,"below":[],"bytes":511705088,"disk":"vda","disk_bytes":536870912,"end_bytes":536870912,"file_system_bytes":511705088,"name":"vda1"},"disks":[{"device":"/dev/vda1","file_system":"ext4","free_bytes":494911488,"mount":"/","total_bytes":505331712}],"memory":{"available_bytes":194154496,"total_bytes":223662080},"root":{"file_system":"ext4","free_bytes":494907392,"free_inodes":7779,"inodes":8192,"options":"rw,noatime,rw","read_only":false,"source":"/dev/vda1","total_bytes":505331712},"waited_seconds":0.37772038,"write_milliseconds":280.78916}');
INSERT INTO check_result VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',1,'dns','pass',1,3082,'mirror.example is 203.0.113.80','{"baked":false,"names":[{"addresses":["203.0.113.80"],"error":"","exit_code":0,"milliseconds":28,"name":"mirror.example","tries":1}],"nameservers":["10.0.2.3"],"unresolved":[],"waited_seconds":3.08041147}');
INSERT INTO check_result VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',2,'internet','pass',1,2881,'all 2 targets answer','{"targets":[{"address":"203.0.113.80:80","error":"","milliseconds":203,"not_asked":false,"status":404,"target":"http://mirror.example/debian","tries":1},{"address":"203.0.113.80:80","error":"","milliseconds":221,"not_asked":false,"status":404,"target":"http://mirror.example/debian-security","tries":1}],"unreached":[],"waited_seconds":2.87547942}');
INSERT INTO check_result VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',3,'cloud_init','pass',1,2624,'cloud-init finished with DataSourceConfigDrive [net,ver=2][source=/dev/vdb]','{"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]","disabled":false,"errors":[],"finished":true,"installed":true,"recoverable_errors":[],"stage":"","stage_seconds":{"init":0.6099999999999994,"init-local":0.6600000000000001,"modules-config":0.5800000000000001,"modules-final":0.8100000000000005},"uptime_seconds":8.59,"waited_seconds":2.60432911}');
CREATE TABLE removed_path (
    build_id TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    path     TEXT NOT NULL,
    fate     TEXT NOT NULL,
    detail   TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',0,'/etc/systemd/system/sysinit.target.wants/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',1,'/etc/systemd/system/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',2,'/etc/image-manager/build','removed','');
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',3,'/etc/image-manager/manager','removed','');
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',4,'/etc/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',5,'/var/lib/image-manager','absent','');
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',6,'/run/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22501-b47c-7524-bef5-a279ff45d335',7,'/usr/local/sbin/image-manager-agent','removed','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',0,'/etc/systemd/system/sysinit.target.wants/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',1,'/etc/systemd/system/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',2,'/etc/image-manager/build','removed','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',3,'/etc/image-manager/manager','removed','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',4,'/etc/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',5,'/var/lib/image-manager','absent','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',6,'/run/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',7,'/usr/local/sbin/image-manager-agent','removed','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',0,'/etc/systemd/system/sysinit.target.wants/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',1,'/etc/systemd/system/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',2,'/etc/image-manager/build','removed','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',3,'/etc/image-manager/manager','removed','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',4,'/etc/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',5,'/var/lib/image-manager','absent','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',6,'/run/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',7,'/usr/local/sbin/image-manager-agent','removed','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',0,'/etc/systemd/system/sysinit.target.wants/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',1,'/etc/systemd/system/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',2,'/etc/image-manager/build','removed','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',3,'/etc/image-manager/manager','removed','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',4,'/etc/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',5,'/var/lib/image-manager','absent','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',6,'/run/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',7,'/usr/local/sbin/image-manager-agent','removed','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',0,'/etc/systemd/system/sysinit.target.wants/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',1,'/etc/systemd/system/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',2,'/etc/image-manager/build','removed','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',3,'/etc/image-manager/manager','removed','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',4,'/etc/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',5,'/var/lib/image-manager','absent','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',6,'/run/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',7,'/usr/local/sbin/image-manager-agent','removed','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',0,'/etc/systemd/system/sysinit.target.wants/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',1,'/etc/systemd/system/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',2,'/etc/image-manager/build','removed','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',3,'/etc/image-manager/manager','removed','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',4,'/etc/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',5,'/var/lib/image-manager','absent','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',6,'/run/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',7,'/usr/local/sbin/image-manager-agent','removed','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',0,'/etc/systemd/system/sysinit.target.wants/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',1,'/etc/systemd/system/image-manager-agent.service','removed','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',2,'/etc/image-manager/build','removed','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',3,'/etc/image-manager/manager','removed','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',4,'/etc/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',5,'/var/lib/image-manager','absent','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',6,'/run/image-manager','removed','');
INSERT INTO removed_path VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',7,'/usr/local/sbin/image-manager-agent','removed','');
CREATE TABLE resource (
    id          INTEGER PRIMARY KEY,
    build_id    TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    cloud       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    external_id TEXT,
    state       TEXT NOT NULL CHECK (state IN ('intended', 'created', 'deleting', 'gone', 'published')),
    note        TEXT NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
INSERT INTO resource VALUES(1,'01a22501-b47c-7524-bef5-a279ff45d335','host','scratch','/var/lib/image-manager/scratch/01a22501-b47c-7524-bef5-a279ff45d335','/var/lib/image-manager/scratch/01a22501-b47c-7524-bef5-a279ff45d335','gone','',1795917198543,1795917231843);
INSERT INTO resource VALUES(2,'01a22501-b47c-7524-bef5-a279ff45d335','local','image','image-manager-01a22501-b47c-7524-bef5-a279ff45d335','image-manager-01a22501-b47c-7524-bef5-a279ff45d335','gone','',1795917231195,1795917379100);
INSERT INTO resource VALUES(3,'01a22501-b47c-7524-bef5-a279ff45d335','local','server','image-manager-01a22501-b47c-7524-bef5-a279ff45d335','01a22502-3701-768b-9f27-865d5ed2b75e','gone','',1795917231867,1795917379091);
INSERT INTO resource VALUES(4,'01a22504-7e27-73c3-9d60-9163b1250e27','host','scratch','/var/lib/image-manager/scratch/01a22504-7e27-73c3-9d60-9163b1250e27','/var/lib/image-manager/scratch/01a22504-7e27-73c3-9d60-9163b1250e27','gone','',1795917381992,1795917387542);
INSERT INTO resource VALUES(5,'01a22504-7e27-73c3-9d60-9163b1250e27','local','image','image-manager-01a22504-7e27-73c3-9d60-9163b1250e27','image-manager-01a22504-7e27-73c3-9d60-9163b1250e27','gone','',1795917387074,1795917437076);
INSERT INTO resource VALUES(6,'01a22504-7e27-73c3-9d60-9163b1250e27','local','server','image-manager-01a22504-7e27-73c3-9d60-9163b1250e27','01a22504-9728-77d5-89ce-cfe8a7bf079e','gone','',1795917387557,1795917437056);
INSERT INTO resource VALUES(7,'01a22505-5a0c-72f3-aa3a-c33fa7886efb','host','scratch','/var/lib/image-manager/scratch/01a22505-5a0c-72f3-aa3a-c33fa7886efb','/var/lib/image-manager/scratch/01a22505-5a0c-72f3-aa3a-c33fa7886efb','gone','',1795917437553,1795917447536);
INSERT INTO resource VALUES(8,'01a22505-5a0c-72f3-aa3a-c33fa7886efb','local','image','image-manager-01a22505-5a0c-72f3-aa3a-c33fa7886efb','image-manager-01a22505-5a0c-72f3-aa3a-c33fa7886efb','gone','',1795917445779,1795917482961);
INSERT INTO resource VALUES(9,'01a22505-5a0c-72f3-aa3a-c33fa7886efb','local','server','image-manager-01a22505-5a0c-72f3-aa3a-c33fa7886efb','01a22505-8228-772d-a478-77ee734eede2','gone','',1795917447712,1795917482875);
INSERT INTO resource VALUES(10,'01a22506-0ce2-7204-b714-c5b54cae15c1','host','scratch','/var/lib/image-manager/scratch/01a22506-0ce2-7204-b714-c5b54cae15c1','/var/lib/image-manager/scratch/01a22506-0ce2-7204-b714-c5b54cae15c1','gone','',1795917483325,1795917485276);
INSERT INTO resource VALUES(11,'01a22506-0ce2-7204-b714-c5b54cae15c1','local','image','image-manager-01a22506-0ce2-7204-b714-c5b54cae15c1','image-manager-01a22506-0ce2-7204-b714-c5b54cae15c1','gone','',1795917484857,1795917501877);
INSERT INTO resource VALUES(12,'01a22506-0ce2-7204-b714-c5b54cae15c1','local','server','image-manager-01a22506-0ce2-7204-b714-c5b54cae15c1','01a22506-14ec-724b-b486-cbec376da4a1','gone','',1795917485289,1795917501814);
INSERT INTO resource VALUES(13,'01a22506-5674-765f-9d82-6f37e9ae8397','host','scratch','/var/lib/image-manager/scratch/01a22506-5674-765f-9d82-6f37e9ae8397','/var/lib/image-manager/scratch/01a22506-5674-765f-9d82-6f37e9ae8397','gone','',1795917502168,1795917505992);
INSERT INTO resource VALUES(14,'01a22506-5674-765f-9d82-6f37e9ae8397','local','image','image-manager-01a22506-5674-765f-9d82-6f37e9ae8397','image-manager-01a22506-5674-765f-9d82-6f37e9ae8397','gone','',1795917504974,1795917546015);
INSERT INTO resource VALUES(15,'01a22506-5674-765f-9d82-6f37e9ae8397','local','server','image-manager-01a22506-5674-765f-9d82-6f37e9ae8397','01a22506-65e2-7615-8ee9-d387d0b2be5f','gone','',1795917506014,1795917545746);
INSERT INTO resource VALUES(16,'01a22507-05e1-750b-9c3d-02b221dddb22','host','scratch','/var/lib/image-manager/scratch/01a22507-05e1-750b-9c3d-02b221dddb22','/var/lib/image-manager/scratch/01a22507-05e1-750b-9c3d-02b221dddb22','gone','',1795917547305,1795917548227);
INSERT INTO resource VALUES(17,'01a22507-0bec-7473-867c-7558b23b634b','host','scratch','/var/lib/image-manager/scratch/01a22507-0bec-7473-867c-7558b23b634b','/var/lib/image-manager/scratch/01a22507-0bec-7473-867c-7558b23b634b','gone','',1795917548731,1795917554725);
INSERT INTO resource VALUES(18,'01a22507-0bec-7473-867c-7558b23b634b','local','image','image-manager-01a22507-0bec-7473-867c-7558b23b634b','image-manager-01a22507-0bec-7473-867c-7558b23b634b','gone','',1795917554349,1795917596017);
INSERT INTO resource VALUES(19,'01a22507-0bec-7473-867c-7558b23b634b','local','server','image-manager-01a22507-0bec-7473-867c-7558b23b634b','01a22507-2455-7219-a848-58cba26505b7','gone','',1795917554745,1795917595677);
INSERT INTO resource VALUES(20,'01a22507-c794-7352-9ab1-a3fb5a3e221f','host','scratch','/var/lib/image-manager/scratch/01a22507-c794-7352-9ab1-a3fb5a3e221f','/var/lib/image-manager/scratch/01a22507-c794-7352-9ab1-a3fb5a3e221f','gone','',1795917596831,1795917605123);
INSERT INTO resource VALUES(21,'01a22507-c794-7352-9ab1-a3fb5a3e221f','local','image','image-manager-01a22507-c794-7352-9ab1-a3fb5a3e221f','image-manager-01a22507-c794-7352-9ab1-a3fb5a3e221f','gone','',1795917603760,1795917645899);
INSERT INTO resource VALUES(22,'01a22507-c794-7352-9ab1-a3fb5a3e221f','local','server','image-manager-01a22507-c794-7352-9ab1-a3fb5a3e221f','01a22507-ea0f-7025-bf4c-406697b3ecaf','gone','',1795917605152,1795917645509);
INSERT INTO resource VALUES(23,'01a22508-89e5-76f5-acb6-d066eda5e835','host','scratch','/var/lib/image-manager/scratch/01a22508-89e5-76f5-acb6-d066eda5e835','/var/lib/image-manager/scratch/01a22508-89e5-76f5-acb6-d066eda5e835','gone','',1795917646430,1795917650581);
INSERT INTO resource VALUES(24,'01a22508-9fb4-7387-bd1e-7fb226d5d0b8','host','scratch','/var/lib/image-manager/scratch/01a22508-9fb4-7387-bd1e-7fb226d5d0b8','/var/lib/image-manager/scratch/01a22508-9fb4-7387-bd1e-7fb226d5d0b8','gone','',1795917652015,1795917656025);
INSERT INTO resource VALUES(25,'01a22508-bc69-77fd-bdcf-eece64abe31a','host','scratch','/var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a','/var/lib/image-manager/scratch/01a22508-bc69-77fd-bdcf-eece64abe31a','gone','',1795917659465,1795917660626);
INSERT INTO resource VALUES(26,'01a22508-eb9d-701c-8000-7a22514ca5ef','host','scratch','/var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef','/var/lib/image-manager/scratch/01a22508-eb9d-701c-8000-7a22514ca5ef','gone','',1795917671523,1795917672827);
INSERT INTO resource VALUES(27,'01a22508-f414-77fd-bcb1-9a142a8b589e','host','scratch','/var/lib/image-manager/scratch/01a22508-f414-77fd-bcb1-9a142a8b589e','/var/lib/image-manager/scratch/01a22508-f414-77fd-bcb1-9a142a8b589e','gone','',1795917673683,1795917677954);
INSERT INTO resource VALUES(28,'01a22509-08bf-7694-94b9-93c89f52d61b','host','scratch','/var/lib/image-manager/scratch/01a22509-08bf-7694-94b9-93c89f52d61b','/var/lib/image-manager/scratch/01a22509-08bf-7694-94b9-93c89f52d61b','gone','',1795917678925,1795917683228);
INSERT INTO resource VALUES(29,'01a22509-08bf-7694-94b9-93c89f52d61b','local','image','image-manager-01a22509-08bf-7694-94b9-93c89f52d61b','image-manager-01a22509-08bf-7694-94b9-93c89f52d61b','gone','',1795917682442,1795917713474);
INSERT INTO resource VALUES(30,'01a22509-08bf-7694-94b9-93c89f52d61b','local','server','image-manager-01a22509-08bf-7694-94b9-93c89f52d61b','01a22509-1a7f-72aa-823c-e9cbd86fef4e','gone','',1795917683326,1795917713137);
INSERT INTO resource VALUES(31,'01a22509-a050-71d1-91d8-e6bdf873e13c','host','scratch','/var/lib/image-manager/scratch/01a22509-a050-71d1-91d8-e6bdf873e13c','/var/lib/image-manager/scratch/01a22509-a050-71d1-91d8-e6bdf873e13c','gone','',1795917717749,1795917721545);
INSERT INTO resource VALUES(32,'01a22509-a050-71d1-91d8-e6bdf873e13c','local','image','image-manager-01a22509-a050-71d1-91d8-e6bdf873e13c','image-manager-01a22509-a050-71d1-91d8-e6bdf873e13c','gone','',1795917720478,1795917738600);
INSERT INTO resource VALUES(33,'01a22509-a050-71d1-91d8-e6bdf873e13c','local','server','image-manager-01a22509-a050-71d1-91d8-e6bdf873e13c','01a22509-afe1-704f-9f29-1f42d9be9495','gone','',1795917721560,1795917738596);
CREATE TABLE schedule_state (
    schedule  TEXT PRIMARY KEY,
    cron      TEXT NOT NULL,
    -- Nothing before this instant is caught up: the entry was not there, or was another one.
    since     INTEGER NOT NULL,
    paused    INTEGER NOT NULL DEFAULT 0
, pause_reason TEXT NOT NULL DEFAULT '', paused_at INTEGER, failures INTEGER NOT NULL DEFAULT 0, paused_by TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO schedule_state VALUES('released',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('plain',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('tolerant',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('sick',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('hook',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('silent',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('inconclusive',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('slow',' UTC',1795917651497,0,'',NULL,0,'');
INSERT INTO schedule_state VALUES('full','0 0 29 2 * UTC',1795917651497,1,'2 builds in a row did not pass, the last one for scratch_full: mend the cause, then resume it',1795917672841,2,'manager');
INSERT INTO schedule_state VALUES('hanging',' UTC',1795917651497,0,'',NULL,0,'');
CREATE TABLE build_phase (
    schedule TEXT NOT NULL,
    phase    TEXT NOT NULL,
    seconds  REAL NOT NULL,
    PRIMARY KEY (schedule, phase)
) STRICT, WITHOUT ROWID;
INSERT INTO build_phase VALUES('hanging','block-device',0.0);
INSERT INTO build_phase VALUES('hanging','cleanup',0.12031370600000000636);
INSERT INTO build_phase VALUES('hanging','convert',1.7596277080000000125);
INSERT INTO build_phase VALUES('hanging','extra-data',0.02408901100000000045);
INSERT INTO build_phase VALUES('hanging','finalise',0.11316393800000000557);
INSERT INTO build_phase VALUES('hanging','install',0.098923337999999999547);
INSERT INTO build_phase VALUES('hanging','mkfs and copy',0.021249495000000000188);
INSERT INTO build_phase VALUES('hanging','post-install',0.064283558000000004528);
INSERT INTO build_phase VALUES('hanging','pre-install',0.010549265999999999851);
INSERT INTO build_phase VALUES('hanging','root',0.59772262099999995399);
INSERT INTO build_phase VALUES('inconclusive','block-device',0.0);
INSERT INTO build_phase VALUES('inconclusive','cleanup',0.60745742999999996492);
INSERT INTO build_phase VALUES('inconclusive','convert',2.4899645169999997662);
INSERT INTO build_phase VALUES('inconclusive','extra-data',0.31610334499999998003);
INSERT INTO build_phase VALUES('inconclusive','finalise',0.030685072000000000735);
INSERT INTO build_phase VALUES('inconclusive','install',0.028345764999999998462);
INSERT INTO build_phase VALUES('inconclusive','mkfs and copy',0.003616943999999999975);
INSERT INTO build_phase VALUES('inconclusive','post-install',0.075223707000000000766);
INSERT INTO build_phase VALUES('inconclusive','pre-install',0.034744806000000003076);
INSERT INTO build_phase VALUES('inconclusive','root',2.6361560289999999007);
INSERT INTO build_phase VALUES('plain','block-device',0.00011997500000000000243);
INSERT INTO build_phase VALUES('plain','cleanup',0.32934480999999998784);
INSERT INTO build_phase VALUES('plain','convert',4.7857047619999999454);
INSERT INTO build_phase VALUES('plain','extra-data',0.087351283000000001788);
INSERT INTO build_phase VALUES('plain','finalise',0.065347023000000004078);
INSERT INTO build_phase VALUES('plain','install',0.099189156000000000545);
INSERT INTO build_phase VALUES('plain','mkfs and copy',0.0021087150000000001552);
INSERT INTO build_phase VALUES('plain','post-install',0.028357866999999998408);
INSERT INTO build_phase VALUES('plain','pre-install',0.076619456000000002449);
INSERT INTO build_phase VALUES('plain','root',0.85751653400000005245);
INSERT INTO build_phase VALUES('released','block-device',0.0022174389999999998684);
INSERT INTO build_phase VALUES('released','cleanup',0.130230405999999993);
INSERT INTO build_phase VALUES('released','convert',1.3897014450000000351);
INSERT INTO build_phase VALUES('released','extra-data',0.023658093000000001565);
INSERT INTO build_phase VALUES('released','finalise',0.045599906000000002548);
INSERT INTO build_phase VALUES('released','install',0.023170086999999998933);
INSERT INTO build_phase VALUES('released','mkfs and copy',0.0017811909999999998941);
INSERT INTO build_phase VALUES('released','post-install',0.023311562000000000949);
INSERT INTO build_phase VALUES('released','pre-install',0.064899303000000005403);
INSERT INTO build_phase VALUES('released','root',0.52153555699999998296);
INSERT INTO build_phase VALUES('sick','block-device',0.0);
INSERT INTO build_phase VALUES('sick','cleanup',0.25699555400000001492);
INSERT INTO build_phase VALUES('sick','convert',1.2804194779999999997);
INSERT INTO build_phase VALUES('sick','extra-data',0.01077830599999999965);
INSERT INTO build_phase VALUES('sick','finalise',0.022126329000000000135);
INSERT INTO build_phase VALUES('sick','install',0.0134657560000000006);
INSERT INTO build_phase VALUES('sick','mkfs and copy',0.013642618000000000452);
INSERT INTO build_phase VALUES('sick','post-install',0.022399832000000001464);
INSERT INTO build_phase VALUES('sick','pre-install',0.012951031000000000001);
INSERT INTO build_phase VALUES('sick','root',0.61315155899999995714);
INSERT INTO build_phase VALUES('silent','block-device',0.00016273500000000000638);
INSERT INTO build_phase VALUES('silent','cleanup',0.30022564400000001372);
INSERT INTO build_phase VALUES('silent','convert',2.9198989200000000643);
INSERT INTO build_phase VALUES('silent','extra-data',0.010640527999999999791);
INSERT INTO build_phase VALUES('silent','finalise',0.051311177999999998955);
INSERT INTO build_phase VALUES('silent','install',0.12980300499999999908);
INSERT INTO build_phase VALUES('silent','mkfs and copy',0.049910661000000001996);
INSERT INTO build_phase VALUES('silent','post-install',0.017789625999999999356);
INSERT INTO build_phase VALUES('silent','pre-install',0.011734938999999999786);
INSERT INTO build_phase VALUES('silent','root',0.65429332299999998223);
INSERT INTO build_phase VALUES('tolerant','block-device',0.0001429280000000000112);
INSERT INTO build_phase VALUES('tolerant','cleanup',0.038583966999999996794);
INSERT INTO build_phase VALUES('tolerant','convert',0.7759592469999999631);
INSERT INTO build_phase VALUES('tolerant','extra-data',0.011577904999999999446);
INSERT INTO build_phase VALUES('tolerant','finalise',0.0050623550000000001533);
INSERT INTO build_phase VALUES('tolerant','install',0.006120809999999999966);
INSERT INTO build_phase VALUES('tolerant','mkfs and copy',0.0011616879999999999133);
INSERT INTO build_phase VALUES('tolerant','post-install',0.014793295999999999182);
INSERT INTO build_phase VALUES('tolerant','pre-install',0.022989268000000000202);
INSERT INTO build_phase VALUES('tolerant','root',0.33024050999999998712);
CREATE TABLE retry (
    schedule TEXT PRIMARY KEY,
    build_id TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    attempt  INTEGER NOT NULL,
    due_at   INTEGER NOT NULL
) STRICT;
CREATE TABLE day_sum (
    schedule        TEXT NOT NULL,
    -- Days since the epoch.
    day             INTEGER NOT NULL,
    builds          INTEGER NOT NULL,
    passed          INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    errored         INTEGER NOT NULL,
    cancelled       INTEGER NOT NULL,
    flaky           INTEGER NOT NULL,
    first_failed_at INTEGER,
    last_failed_at  INTEGER,
    last_passed_at  INTEGER,
    -- How the durations and sizes are distributed; see history/reports/distribution.rs.
    distributions   BLOB NOT NULL,
    PRIMARY KEY (schedule, day)
) STRICT, WITHOUT ROWID;
INSERT INTO day_sum VALUES('full',20786,2,0,0,2,0,0,NULL,NULL,NULL,X'0000000000028c02b4028101010501000000');
INSERT INTO day_sum VALUES('hanging',20786,1,0,0,1,0,0,NULL,NULL,NULL,X'01e71be71bf70101018b078b07b8010101dbcb01dbcb01d20201000001a105a105aa01010001e9c601e9c601d10201018080f00d8080f00d970501');
INSERT INTO day_sum VALUES('hook',20786,1,0,1,0,0,0,1795917547045,1795917547045,NULL,X'000000000001e302e3028c0101000000');
INSERT INTO day_sum VALUES('inconclusive',20786,1,0,0,1,0,0,NULL,NULL,NULL,X'01dc37dc3797020101ea0aea0acb010101fd9b01fd9b01c60201000001e005e005ae01010001ac9801ac9801c60201018080f00d8080f00d970501');
INSERT INTO day_sum VALUES('plain',20786,1,1,0,0,0,0,NULL,NULL,1795917437452,X'01913f913f9f020101d20fd20fde010101e1f901e1f901de020101aa18aa18f001010001c702c70288010101b5e302b5e302ec020101c6f901c6f901de0201018080f00d8080f00d970501');
INSERT INTO day_sum VALUES('released',20786,3,3,0,0,0,0,NULL,NULL,1795917717647,X'03e415adff01eb010122015201038c04c708a001010b01170103c669acf005b402013401270103b81a8b8b03f401012901540103315f31010f010f01035ce3024e013801060103c6a301b1830bc802012e01360103fe68fdd905b4020133012601018080f00d8080f00d970503');
INSERT INTO day_sum VALUES('sick',20786,1,0,1,0,0,0,1795917502071,1795917502071,NULL,X'01b516b516ec01010188088808c00101019eff019eff01df0201000001f105f105af01010001d6fb01d6fb01de0201018080f00d8080f00d970501');
INSERT INTO day_sum VALUES('silent',20786,1,0,0,1,0,0,NULL,NULL,NULL,X'01bc2cbc2c8c020101f903f9039f010100000001f709f709c701010000018080d00b8080d00b8e0501');
INSERT INTO day_sum VALUES('slow',20786,3,0,0,1,2,0,NULL,NULL,NULL,X'000000000003f801af067e011d011701000000');
INSERT INTO day_sum VALUES('tolerant',20786,1,1,0,0,0,0,NULL,NULL,1795917483234,X'01bd0cbd0cd1010101b103b10396010101a066a066b3020101bc19bc19f2010100018702870280010101d19101d19101c402010189658965b20201018080f00d8080f00d970501');
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule   TEXT NOT NULL,
    build_id   TEXT,
    reason     TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL
) STRICT;
INSERT INTO outbox VALUES(1,'full','01a22508-bc69-77fd-bdcf-eece64abe31a','',1795917660632,7,1795917789272);
INSERT INTO outbox VALUES(2,'full','01a22508-eb9d-701c-8000-7a22514ca5ef','',1795917672841,7,1795917802410);
INSERT INTO outbox VALUES(3,'full',NULL,'2 builds in a row did not pass, the last one for scratch_full: mend the cause, then resume it',1795917672841,7,1795917802439);
INSERT INTO outbox VALUES(4,'slow','01a22508-f414-77fd-bcb1-9a142a8b589e','',1795917678014,6,1795917742788);
INSERT INTO outbox VALUES(5,'hanging','01a22509-08bf-7694-94b9-93c89f52d61b','',1795917713510,5,1795917745315);
INSERT INTO outbox VALUES(6,'released','01a22509-a050-71d1-91d8-e6bdf873e13c','',1795917738608,0,1795917738608);
CREATE TABLE build_room (
    build_id      TEXT PRIMARY KEY REFERENCES build (id) ON DELETE CASCADE,
    -- Most that was taken of the scratch directory's file system at one time.
    scratch_bytes INTEGER NOT NULL,
    -- The image's file.
    image_bytes   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO build_room VALUES('01a22501-b47c-7524-bef5-a279ff45d335',381501440,29097984);
INSERT INTO build_room VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',70553600,29097984);
INSERT INTO build_room VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',119463936,29097984);
INSERT INTO build_room VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',62152704,29097984);
INSERT INTO build_room VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',39620608,29097984);
INSERT INTO build_room VALUES('01a22507-0bec-7473-867c-7558b23b634b',84578304,24379392);
INSERT INTO build_room VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',103817216,29097984);
INSERT INTO build_room VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',114032640,29097984);
INSERT INTO build_room VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',167661568,29097984);
CREATE TABLE week_sum (
    schedule        TEXT NOT NULL,
    week            INTEGER NOT NULL,
    builds          INTEGER NOT NULL,
    passed          INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    errored         INTEGER NOT NULL,
    cancelled       INTEGER NOT NULL,
    flaky           INTEGER NOT NULL,
    first_failed_at INTEGER,
    last_failed_at  INTEGER,
    last_passed_at  INTEGER,
    distributions   BLOB NOT NULL,
    PRIMARY KEY (schedule, week)
) STRICT, WITHOUT ROWID;
INSERT INTO week_sum VALUES('full',2969,2,0,0,2,0,0,NULL,NULL,NULL,X'0000000000028c02b4028101010501000000');
INSERT INTO week_sum VALUES('hanging',2969,1,0,0,1,0,0,NULL,NULL,NULL,X'01e71be71bf70101018b078b07b8010101dbcb01dbcb01d20201000001a105a105aa01010001e9c601e9c601d10201018080f00d8080f00d970501');
INSERT INTO week_sum VALUES('hook',2969,1,0,1,0,0,0,1795917547045,1795917547045,NULL,X'000000000001e302e3028c0101000000');
INSERT INTO week_sum VALUES('inconclusive',2969,1,0,0,1,0,0,NULL,NULL,NULL,X'01dc37dc3797020101ea0aea0acb010101fd9b01fd9b01c60201000001e005e005ae01010001ac9801ac9801c60201018080f00d8080f00d970501');
INSERT INTO week_sum VALUES('plain',2969,1,1,0,0,0,0,NULL,NULL,1795917437452,X'01913f913f9f020101d20fd20fde010101e1f901e1f901de020101aa18aa18f001010001c702c70288010101b5e302b5e302ec020101c6f901c6f901de0201018080f00d8080f00d970501');
INSERT INTO week_sum VALUES('released',2969,3,3,0,0,0,0,NULL,NULL,1795917717647,X'03e415adff01eb010122015201038c04c708a001010b01170103c669acf005b402013401270103b81a8b8b03f401012901540103315f31010f010f01035ce3024e013801060103c6a301b1830bc802012e01360103fe68fdd905b4020133012601018080f00d8080f00d970503');
INSERT INTO week_sum VALUES('sick',2969,1,0,1,0,0,0,1795917502071,1795917502071,NULL,X'01b516b516ec01010188088808c00101019eff019eff01df0201000001f105f105af01010001d6fb01d6fb01de0201018080f00d8080f00d970501');
INSERT INTO week_sum VALUES('silent',2969,1,0,0,1,0,0,NULL,NULL,NULL,X'01bc2cbc2c8c020101f903f9039f010100000001f709f709c701010000018080d00b8080d00b8e0501');
INSERT INTO week_sum VALUES('slow',2969,3,0,0,1,2,0,NULL,NULL,NULL,X'000000000003f801af067e011d011701000000');
INSERT INTO week_sum VALUES('tolerant',2969,1,1,0,0,0,0,NULL,NULL,1795917483234,X'01bd0cbd0cd1010101b103b10396010101a066a066b3020101bc19bc19f2010100018702870280010101d19101d19101c402010189658965b20201018080f00d8080f00d970501');
CREATE TABLE token (
    name       TEXT PRIMARY KEY,
    hash       TEXT NOT NULL UNIQUE,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO token VALUES('robot','9342481312a400759f8a5b294c733c99717ece29c754c9937c24904e20c01091','operator',1795917757776,'root (uid 0)',1803693757768);
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    principal TEXT NOT NULL,
    action    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    build_id  TEXT,
    detail    TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO audit VALUES(1,1795917198463,'root (uid 0)','build.triggered','released','01a22501-b47c-7524-bef5-a279ff45d335','cli');
INSERT INTO audit VALUES(2,1795917378785,'root (uid 0)','build.published','released','01a22501-b47c-7524-bef5-a279ff45d335','tiny');
INSERT INTO audit VALUES(3,1795917381165,'root (uid 0)','build.triggered','released','01a22504-7e27-73c3-9d60-9163b1250e27','cli');
INSERT INTO audit VALUES(4,1795917436718,'root (uid 0)','build.published','released','01a22504-7e27-73c3-9d60-9163b1250e27','tiny');
INSERT INTO audit VALUES(5,1795917437452,'root (uid 0)','build.triggered','plain','01a22505-5a0c-72f3-aa3a-c33fa7886efb','cli');
INSERT INTO audit VALUES(6,1795917483234,'root (uid 0)','build.triggered','tolerant','01a22506-0ce2-7204-b714-c5b54cae15c1','cli');
INSERT INTO audit VALUES(7,1795917502071,'root (uid 0)','build.triggered','sick','01a22506-5674-765f-9d82-6f37e9ae8397','cli');
INSERT INTO audit VALUES(8,1795917547045,'root (uid 0)','build.triggered','hook','01a22507-05e1-750b-9c3d-02b221dddb22','cli');
INSERT INTO audit VALUES(9,1795917548524,'root (uid 0)','build.triggered','silent','01a22507-0bec-7473-867c-7558b23b634b','cli');
INSERT INTO audit VALUES(10,1795917596564,'root (uid 0)','build.triggered','inconclusive','01a22507-c794-7352-9ab1-a3fb5a3e221f','cli');
INSERT INTO audit VALUES(11,1795917646309,'root (uid 0)','build.triggered','slow','01a22508-89e5-76f5-acb6-d066eda5e835','cli');
INSERT INTO audit VALUES(12,1795917649809,'root (uid 0)','build.cancelled','slow','01a22508-89e5-76f5-acb6-d066eda5e835','');
INSERT INTO audit VALUES(13,1795917651893,'root (uid 0)','build.triggered','slow','01a22508-9fb4-7387-bd1e-7fb226d5d0b8','cli');
INSERT INTO audit VALUES(14,1795917655783,'root (uid 0)','build.cancelled','slow','01a22508-9fb4-7387-bd1e-7fb226d5d0b8','');
INSERT INTO audit VALUES(15,1795917659242,'root (uid 0)','build.triggered','full','01a22508-bc69-77fd-bdcf-eece64abe31a','cli');
INSERT INTO audit VALUES(16,1795917671325,'retry','build.triggered','full','01a22508-eb9d-701c-8000-7a22514ca5ef','retry');
INSERT INTO audit VALUES(17,1795917672841,'manager','schedule.paused','full','01a22508-eb9d-701c-8000-7a22514ca5ef','2 builds in a row did not pass, the last one for scratch_full: mend the cause, then resume it');
INSERT INTO audit VALUES(18,1795917673492,'root (uid 0)','build.triggered','slow','01a22508-f414-77fd-bcb1-9a142a8b589e','cli');
INSERT INTO audit VALUES(19,1795917678784,'root (uid 0)','build.triggered','hanging','01a22509-08bf-7694-94b9-93c89f52d61b','cli');
INSERT INTO audit VALUES(20,1795917717647,'root (uid 0)','build.triggered','released','01a22509-a050-71d1-91d8-e6bdf873e13c','cli');
INSERT INTO audit VALUES(21,1795917738508,'root (uid 0)','build.published','released','01a22509-a050-71d1-91d8-e6bdf873e13c','tiny');
INSERT INTO audit VALUES(22,1795917757776,'root (uid 0)','token.created','robot',NULL,'operator');
CREATE TABLE definition_part (
    build_id TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    source   TEXT NOT NULL,
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',2,'settings','image','202b135de8845a8eb52903138bd6690b18e64e8ad4d511fb5d8480162ff3277d','');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22501-b47c-7524-bef5-a279ff45d335',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',2,'settings','image','202b135de8845a8eb52903138bd6690b18e64e8ad4d511fb5d8480162ff3277d','');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22504-7e27-73c3-9d60-9163b1250e27',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',2,'settings','image','66434034f9dcaa5341972b893d6408154196e71de40c95149138c10e6aed8cad','');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22505-5a0c-72f3-aa3a-c33fa7886efb',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',2,'settings','image','0d03d46c3acbc31fb92168258cc423d7166a9a750c9459a886d020c9bfa029d9','');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-0ce2-7204-b714-c5b54cae15c1',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',2,'settings','image','0d03d46c3acbc31fb92168258cc423d7166a9a750c9459a886d020c9bfa029d9','');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22506-5674-765f-9d82-6f37e9ae8397',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',2,'settings','image','d4f4c061dcb3148eb0760850d620e52f84fb53ebc7238071bbcbe6885576a1ca','');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-05e1-750b-9c3d-02b221dddb22',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',2,'settings','image','f84ea9be97461b3c225b5f2c26c6caf8b689f914d8ab7c51d0cfbd2ab2cafc55','');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-0bec-7473-867c-7558b23b634b',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',2,'settings','image','66434034f9dcaa5341972b893d6408154196e71de40c95149138c10e6aed8cad','');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22507-c794-7352-9ab1-a3fb5a3e221f',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',2,'settings','image','40b55f9a53ada0f906bd7ba0f9e88c4f4db5f1e3fce2e2e7277c1cd9a911d80b','');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-08bf-7694-94b9-93c89f52d61b',15,'element','tiny','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',0,'program','image-manager','0.1.0','');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',1,'agent','image-manager-agent','c72d147c805d6a1bb9030b650a0453e5360e662068e18eece1c5b5c64c902fcf','');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',2,'settings','image','202b135de8845a8eb52903138bd6690b18e64e8ad4d511fb5d8480162ff3277d','');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',3,'program','disk-image-builder','3.43.0','');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',4,'element','block-device-mbr','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',5,'element','bootloader','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',6,'element','debootstrap','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',7,'element','dib-init-system','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',8,'element','dpkg','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',9,'element','install-bin','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',10,'element','install-types','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',11,'element','manifests','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',12,'element','package-installs','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',13,'element','pkg-map','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',14,'element','sysprep','','disk-image-builder');
INSERT INTO definition_part VALUES('01a22509-a050-71d1-91d8-e6bdf873e13c',15,'element','tiny','','disk-image-builder');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('audit',22);
INSERT INTO sqlite_sequence VALUES('outbox',6);
CREATE UNIQUE INDEX build_one_unfinished ON build (schedule)
    WHERE state NOT IN ('succeeded', 'failed', 'errored', 'cancelled');
CREATE INDEX build_by_schedule ON build (schedule, id);
CREATE INDEX build_by_state ON build (state, id);
CREATE INDEX resource_by_build ON resource (build_id);
CREATE INDEX resource_open ON resource (id) WHERE state NOT IN ('gone', 'published');
CREATE INDEX day_sum_by_day ON day_sum (day, schedule, builds);
CREATE INDEX build_by_schedule_time ON build (schedule, created_at);
CREATE INDEX build_by_schedule_state ON build (schedule, state, id);
CREATE INDEX resource_unseen ON resource (updated_at) WHERE state = 'gone' AND external_id IS NULL;
CREATE INDEX audit_by_time ON audit (at);
CREATE UNIQUE INDEX audit_published_once ON audit (build_id) WHERE action = 'build.published';
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN
    SELECT raise(ABORT, 'the audit trail is append-only');
END;
COMMIT;
PRAGMA user_version=13;
