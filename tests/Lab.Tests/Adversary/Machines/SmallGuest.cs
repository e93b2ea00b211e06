namespace AgentMetal.LabTests.Adversary.Machines;

/// <summary>
/// A guest of 54 bytes, which boots in the time that the BIOS takes: it lets go of each device that is unplugged and switches itself off
/// when its power button is
/// pressed, and sleeps between two ticks of the clock. Ports as of QEMU's docs/specs/acpi_pci_hotplug.rst and the PIIX4.
/// </summary>
internal static class SmallGuest
{
    /// <summary>A disk of 1 MiB that boots it; block 1 of <see cref="DiskBlocks"/> and those behind it are free.</summary>
    public static byte[] Image()
    {
        byte[] code =
        [
            0x31, 0xC0, 0x8E, 0xD8,             // xor ax, ax; mov ds, ax
            0xBA, 0x02, 0x06, 0xB8, 0x00, 0x01, // mov dx, 0x602; mov ax, 0x100
            0xEF,                               // out dx, ax: the power button is heard
            0xFB, 0xF4,                         // again: sti; hlt
            0xBA, 0x10, 0xAE, 0x66, 0x31, 0xC0, // mov dx, 0xae10; xor eax, eax
            0x66, 0xEF,                         // out dx, eax: of the first bus
            0xBA, 0x04, 0xAE, 0x66, 0xED,       // mov dx, 0xae04; in eax, dx: slots that are to be let go
            0x66, 0x85, 0xC0, 0x74, 0x05,       // test eax, eax; jz button
            0xBA, 0x08, 0xAE, 0x66, 0xEF,       // mov dx, 0xae08; out dx, eax: eject
            0xBA, 0x00, 0x06, 0xED,             // button: mov dx, 0x600; in ax, dx
            0xF6, 0xC4, 0x01, 0x74, 0xDE,       // test ah, 1; jz again
            0xBA, 0x04, 0x06, 0xB8, 0x00, 0x20, // mov dx, 0x604; mov ax, 0x2000
            0xEF, 0xEB, 0xD5,                   // out dx, ax: off; jmp again
        ];
        var image = new byte[1 << 20];
        code.CopyTo(image, 0);
        (image[510], image[511]) = (0x55, 0xAA);
        return image;
    }
}
