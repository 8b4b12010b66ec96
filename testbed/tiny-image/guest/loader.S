/*
 * The boot loader: all of it fits into the disk's first sector. GRUB takes three to four seconds under
 * emulation to read 17 MB; this takes a third of one.
 *
 * It copies what the table at the end names from the disk into memory, then enters the kernel by Linux'
 * 16-bit boot protocol (Documentation/arch/x86/boot.rst). `build` fills the kernel's header and the table.
 */
        .code16
        .intel_syntax noprefix
        .globl _start

        .set BUFFER, 0x20000            /* where the BIOS reads to */
        .set CHUNK, 64                  /* sectors a read; 512 did not boot */
        .set SETUP, 0x9000              /* segment of the kernel's 16-bit part */
        .set STACK, 0xdc00              /* above it, its heap and stack */

_start: cli
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        sti
        cld
        mov     [drive], dl
        mov     ax, 0x2401              /* address line 20 */
        int     0x15

        mov     bp, offset table
block:  mov     ebx, [bp + 4]           /* sectors left */
        mov     eax, [bp]
        mov     [sector], eax
        mov     edi, [bp + 8]

read:   mov     eax, CHUNK
        cmp     eax, ebx
        jbe     1f
        mov     eax, ebx
1:      mov     [count], ax
        pushad
        mov     si, offset packet
        mov     ah, 0x42
        mov     dl, [drive]
        int     0x13
        jc      failed
        popad

        /* To wherever it belongs, by segments of 4 GiB. The BIOS took them away again. */
        cli
        lgdt    [gdt_pointer]
        mov     edx, cr0
        inc     dx
        mov     cr0, edx
        mov     cx, 8
        mov     ds, cx
        mov     es, cx
        dec     dx
        mov     cr0, edx
        mov     esi, BUFFER
        mov     ecx, eax
        shl     ecx, 7                  /* sectors in words of 4 bytes */
        addr32 rep movsd
        xor     cx, cx
        mov     ds, cx
        mov     es, cx
        sti

        add     [sector], eax
        sub     ebx, eax
        jnz     read
        add     bp, 12
        cmp     bp, offset table_end
        jb      block

        mov     ax, SETUP
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        cli
        mov     ss, ax
        mov     sp, STACK
        .byte   0xea                    /* far jump */
        .word   0, SETUP + 0x20

failed: mov     si, offset message
2:      lodsb
        test    al, al
        jz      3f
        mov     ah, 0x0e
        mov     bx, 7
        int     0x10
        jmp     2b
3:      hlt
        jmp     3b

message: .asciz "Disk error"
drive:  .byte   0

        .balign 4
packet: .byte   16, 0
count:  .word   0
        .word   0, BUFFER >> 4
sector: .long   0, 0

gdt:    .quad   0
        .quad   0x00cf92000000ffff      /* data, base 0, limit 4 GiB */
gdt_pointer:
        .word   15
        .long   gdt

        /* First sector, sectors, address: setup with the command line, kernel, initramfs. */
        .org    440 - 36
table:  .fill   36, 1, 0
table_end:
