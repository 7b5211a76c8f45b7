export default function CreateAuthority() {
  return <h1>CreateAuthority</h1>;
}
