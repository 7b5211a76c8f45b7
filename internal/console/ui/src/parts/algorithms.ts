/** What a kind of key is called, and what can be signed with it; the server's own default comes first. */
type Family = { label: string; keys: { value: string; label: string; signing: string }[]; signing: string[] };

const families: Family[] = [
  {
    label: "RSA",
    keys: [
      { value: "RSA_2048", label: "RSA 2048", signing: "SHA256WITHRSA" },
      { value: "RSA_3072", label: "RSA 3072", signing: "SHA384WITHRSA" },
      { value: "RSA_4096", label: "RSA 4096", signing: "SHA512WITHRSA" },
    ],
    signing: ["SHA256WITHRSA", "SHA384WITHRSA", "SHA512WITHRSA"],
  },
  {
    label: "ECDSA",
    keys: [
      { value: "EC_prime256v1", label: "ECDSA P256", signing: "SHA256WITHECDSA" },
      { value: "EC_secp384r1", label: "ECDSA P384", signing: "SHA384WITHECDSA" },
      { value: "EC_secp521r1", label: "ECDSA P521", signing: "SHA512WITHECDSA" },
    ],
    signing: ["SHA256WITHECDSA", "SHA384WITHECDSA", "SHA512WITHECDSA"],
  },
  ...["44", "65", "87"].map((n) => ({
    label: "ML-DSA (post-quantum)",
    keys: [{ value: `ML_DSA_${n}`, label: `ML-DSA-${n}`, signing: `ML_DSA_${n}` }],
    signing: [`ML_DSA_${n}`],
  })),
  { label: "SM2", keys: [{ value: "SM2", label: "SM2", signing: "SM3WITHSM2" }], signing: ["SM3WITHSM2"] },
];

/** The key algorithms that a server of the partition offers, in groups. */
export function keyAlgorithms(partition: string) {
  const groups: { label: string; options: { value: string; label: string }[] }[] = [];
  for (const f of families) {
    if (f.label === "SM2" && partition !== "aws-cn") continue;
    const options = f.keys.map(({ value, label }) => ({ value, label }));
    const group = groups.find((g) => g.label === f.label);
    if (group) group.options.push(...options);
    else groups.push({ label: f.label, options });
  }
  return groups;
}

/** The signing algorithms that go with a key algorithm. */
export function signingAlgorithms(key: string): string[] {
  return families.find((f) => f.keys.some((k) => k.value === key))?.signing ?? [];
}

/** The signing algorithm whose hash is as strong as the key. */
export function usualSigningAlgorithm(key: string): string {
  return families.flatMap((f) => f.keys).find((k) => k.value === key)?.signing ?? "";
}

export function keyAlgorithmName(key: string): string {
  return families.flatMap((f) => f.keys).find((k) => k.value === key)?.label ?? key;
}

/** SHA256WITHRSA as SHA256 with RSA; ML-DSA's are named like the key. */
export function signingAlgorithmName(signing: string): string {
  return signing.startsWith("ML_DSA") ? keyAlgorithmName(signing) : signing.replace("WITH", " with ");
}
