/*
 * The guest's first program, all that the initramfs has beside drivers: loads the drivers, finds the disk
 * by the label of its file system, grows partition and file system to the disk as a cloud image does, and
 * hands over to /sbin/init on it. One process instead of a shell's forty: under emulation that is seconds.
 *
 * Kernel arguments it knows: tiny.grow=no leaves partition and file system as they are.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LABEL "tiny-root"
#ifndef PARTITION_START
#error "build says in which sector the first partition starts"
#endif
#define MBR_ENTRY 446
#define SECTOR 512u
#define EXT4_BLOCK 4096u
#ifndef EXT4_IOC_RESIZE_FS
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#endif

/* PID 1 that ends is a kernel panic, which is what a guest that cannot go on should be. */
static void give_up(const char *what)
{
    printf("tiny: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void load_drivers(const char *folder)
{
    char pattern[64];
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/*.ko", folder);
    if (glob(pattern, 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int fd = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
            printf("tiny: %s: %s\n", found.gl_pathv[i], strerror(errno));
        close(fd);
    }
    globfree(&found);
}

/* An open descriptor of the disk whose first partition holds the labelled ext4; its name goes to `name`. */
static int find_disk(char *name, size_t size)
{
    glob_t found;
    int disk = -1;

    if (glob("/dev/[vs]d[a-z]", 0, NULL, &found))
        return -1;
    for (size_t i = 0; i < found.gl_pathc && disk < 0; i++) {
        unsigned char super[1024];
        int fd = open(found.gl_pathv[i], O_RDWR | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (pread(fd, super, sizeof super, PARTITION_START * SECTOR + 1024) == sizeof super
            && super[0x38] == 0x53 && super[0x39] == 0xef && !strncmp((char *)super + 0x78, LABEL, 16)) {
            snprintf(name, size, "%s", found.gl_pathv[i]);
            disk = fd;
        } else {
            close(fd);
        }
    }
    globfree(&found);
    return disk;
}

/* Growpart's work: the partition's length in the table, and the kernel's view of it. */
static void grow_partition(int disk)
{
    unsigned char table[SECTOR];
    uint64_t bytes, sectors;
    uint32_t length;

    if (ioctl(disk, BLKGETSIZE64, &bytes) || pread(disk, table, SECTOR, 0) != SECTOR)
        give_up("reading the partition table");
    sectors = bytes / SECTOR - PARTITION_START;
    length = sectors > UINT32_MAX ? UINT32_MAX : (uint32_t)sectors;
    if (!memcmp(table + MBR_ENTRY + 12, &length, sizeof length))
        return;
    memcpy(table + MBR_ENTRY + 12, &length, sizeof length);
    if (pwrite(disk, table, SECTOR, 0) != SECTOR || fsync(disk) || ioctl(disk, BLKRRPART))
        give_up("growing the partition");
}

/* Resize2fs's work, on the mounted file system. */
static void grow_file_system(const char *partition)
{
    uint64_t bytes, blocks;
    int device = open(partition, O_RDONLY | O_CLOEXEC);
    int root = open("/root", O_RDONLY | O_CLOEXEC);

    if (device < 0 || root < 0 || ioctl(device, BLKGETSIZE64, &bytes))
        give_up(partition);
    blocks = bytes / EXT4_BLOCK;
    if (ioctl(root, EXT4_IOC_RESIZE_FS, &blocks))
        printf("tiny: growing the file system: %s\n", strerror(errno));
    close(device);
    close(root);
}

static int told_not_to_grow(void)
{
    char line[2048];
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, line, sizeof line - 1);

    close(fd);
    line[length > 0 ? length : 0] = 0;
    return strstr(line, "tiny.grow=no") != NULL;
}

int main(void)
{
    char disk_name[64] = "", partition[80];
    int disk = -1;

    setvbuf(stdout, NULL, _IONBF, 0);
    mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/root", 0755);
    mount("dev", "/dev", "devtmpfs", 0, "mode=0755");
    mount("proc", "/proc", "proc", 0, NULL);
    load_drivers("/drivers");
    for (int try = 0; try < 500 && (disk = find_disk(disk_name, sizeof disk_name)) < 0; try++) {
        if (try == 20)
            load_drivers("/drivers/rare");
        usleep(10000);
    }
    if (disk < 0)
        give_up("no disk with a file system " LABEL);

    int grow = !told_not_to_grow();
    if (grow)
        grow_partition(disk);
    close(disk);
    snprintf(partition, sizeof partition, "%s1", disk_name);
    for (int try = 0; try < 100 && access(partition, F_OK); try++)
        usleep(10000);
    if (mount(partition, "/root", "ext4", MS_NOATIME, NULL))
        give_up(partition);
    if (grow)
        grow_file_system(partition);

    umount("/proc");
    if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) || chdir("/root")
        || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
        give_up("going to the root file system");
    execl("/sbin/init", "init", (char *)NULL);
    give_up("/sbin/init");
}
